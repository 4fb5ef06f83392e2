"""One stream: a client's connection that ends with its first response.

Theory of operation. `StreamClient` is a `ClientConnection` whose transport is a `StreamTransport`:
it is fed a request in the words of HTTP/1.1, and what it writes becomes frames. So routing,
retries, limits, timeouts, logs and back-pressure are those of any other connection.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

from limpet.errors import ErrorKind
from limpet.proxy.client_protocol import BODY, HEAD, ClientConnection
from limpet.proxy.http1.chunked import chunk, last_chunk
from limpet.proxy.http2.response import ResponseSplitter

if TYPE_CHECKING:
    from limpet.proxy.http2.connection import Http2Connection

#: Unsent bytes at which a target is not read any more, and at which it is again.
_HIGH_BYTES, _LOW_BYTES = 65536, 16384
#: Bytes that a stream may send before it is the others' turn.
_TURN_BYTES = 65536


class StreamClient(ClientConnection):
    """The client of one stream."""

    __slots__ = ()

    is_http2 = True

    def enter(self) -> bool:
        """Count for nothing: the connection does."""
        self.proxy.streams.add(self)
        return True

    def leave(self) -> None:
        """Be forgotten."""
        self.proxy.streams.discard(self)

    def close_idle(self) -> None:
        """Do nothing: the stream has begun, so it has a request."""

    def on_deadline(self) -> None:
        """Act on a deadline that has passed: end the exchange, or a response that is not read."""
        if self.exchange is None:
            self.transport.abort()
        else:
            super().on_deadline()


class StreamTransport(asyncio.Transport):
    """What a stream's client writes to; it makes frames of it.

    Args:
        connection: that the stream is a part of.
        stream_id: of HTTP/2.
        method: of the request.
        in_chunks: whether the request's body has no length.

    Attributes:
        client: of this stream.
        is_over: nothing goes out any more.
    """

    def __init__(
        self, connection: Http2Connection, stream_id: int, method: bytes, *, in_chunks: bool
    ) -> None:
        super().__init__()
        self._connection = connection
        self._id = stream_id
        self._splitter = ResponseSplitter(method, self)
        self._in_chunks = in_chunks
        self._unsent = bytearray()
        self._trailers: list[tuple[bytes, bytes]] | None = None  # not None: the end is to be sent
        self._has_asked_for_pause = False
        self._is_closing = False
        self._is_reading = True
        self._unacknowledged_bytes = 0
        self._is_good = False
        self.is_over = False
        self.client = StreamClient(connection.proxy, connection.listener)
        self.client.phase = HEAD  # a PROXY header came before the first frame, if at all

    # from the connection

    def feed(self, data: bytes, flow_bytes: int) -> None:
        """Pass a part of the request's body on.

        Args:
            flow_bytes: what it takes of the windows; given back once the target takes it.
        """
        self._unacknowledged_bytes += flow_bytes
        if data:
            self.client.data_received(chunk(data) if self._in_chunks else data)
        self.acknowledge()

    def feed_end(self, trailers: bytes) -> None:
        """Pass the end of the request on."""
        client = self.client
        if self._in_chunks:
            client.data_received(last_chunk(trailers))
        elif client.phase == BODY and client.exchange is not None:  # its end came with trailers
            detail = "the body is shorter than Content-Length says"
            client.exchange.on_bad_body(ErrorKind.BAD_REQUEST, detail)

    def acknowledge(self) -> None:
        """Give back what was taken of the windows, unless the target is slow."""
        if self._is_reading and self._unacknowledged_bytes:
            count, self._unacknowledged_bytes = self._unacknowledged_bytes, 0
            self._connection.acknowledge(self._id, count)

    def flush(self) -> None:
        """Send as much as the windows and a turn allow."""
        if self.is_over:
            return
        left = _TURN_BYTES
        while self._unsent and left > 0:
            room = min(self._connection.room(self._id), left)
            if room <= 0:
                break
            part = bytes(self._unsent[:room])
            del self._unsent[: len(part)]
            left -= len(part)
            is_end = not self._unsent and self._trailers == []
            self._connection.send_body(self._id, part, is_last=is_end)
            if is_end:
                self._finish()
                return
        client = self.client
        if left < _TURN_BYTES and client.exchange is None:  # the target is done, the client is not
            client.deadline_s = time.monotonic() + client.limits.send_timeout_s
        if self._has_asked_for_pause and len(self._unsent) <= _LOW_BYTES:
            self._has_asked_for_pause = False
            self.client.resume_writing()
        if self._trailers is not None and not self._unsent:
            self._send_end(self._trailers)

    @property
    def wants_turn(self) -> bool:
        """Whether there is something to send that no window holds back."""
        return not self.is_over and bool(self._unsent) and self._connection.window(self._id) > 0

    def lose(self) -> None:
        """Note that the client has reset the stream, or that the connection is gone."""
        if not self.is_over:
            self.is_over = True
            self._unsent.clear()
            self._lost()

    # from the splitter

    def head(self, status: int, fields: list[tuple[bytes, bytes]], *, is_last: bool) -> None:
        """Send a head; see `response.Sink`."""
        self._is_good = status < 400
        pseudo = (b":status", b"%d" % status)
        self._connection.engine.send_headers(self._id, [pseudo, *fields], end_stream=is_last)
        if is_last:
            self._finish()

    def body(self, data: bytes) -> None:
        """Send a part of the body when the windows allow it."""
        self._unsent += data
        if len(self._unsent) > _HIGH_BYTES and not self._has_asked_for_pause:
            self.flush()
            if len(self._unsent) > _HIGH_BYTES:
                self._has_asked_for_pause = True
                self.client.pause_writing()

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """Send the end after the rest of the body."""
        self._trailers = trailers

    # from the client: what it knows of a transport

    def write(self, data: Any) -> None:
        """Take a part of the response in HTTP/1.1."""
        if not self.is_over:
            self._splitter.feed(bytes(data))
            self._connection.wants_flush(self)

    def close(self) -> None:
        """End the stream, after what was written."""
        if self._is_closing:
            return
        self._is_closing = True
        if not self._splitter.is_done:
            self.abort()

    def abort(self) -> None:
        """Reset the stream: the client must see that the response is not complete."""
        if not self.is_over:
            self.is_over = True
            self._unsent.clear()
            self._connection.reset_stream(self._id, ErrorCodes.INTERNAL_ERROR)
            self._lost()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._is_closing or self.is_over

    def can_write_eof(self) -> bool:
        """No: the end of a response is the end of its stream."""
        return False

    def pause_reading(self) -> None:
        """Let the client's window run empty."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Give back what was taken of the windows."""
        self._is_reading = True
        self.acknowledge()
        self._connection.send_soon()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection; its socket is not this stream's."""
        if name == "socket":
            return default
        return self._connection.transport.get_extra_info(name, default)

    # inside

    def _send_end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        if trailers:
            self._connection.engine.send_headers(self._id, trailers, end_stream=True)
        else:
            self._connection.engine.end_stream(self._id)
        self._finish()

    def _finish(self) -> None:
        # The response is out. If the request is not, the rest of it is not wanted (RFC 9113 section 8.1).
        self.is_over = True
        self._connection.finished(self._id, is_good=self._is_good)
        self._lost()

    def _lost(self) -> None:
        self.resume_reading()  # gives back to the connection's window what nobody will read
        # Not at once: the client may be in the middle of ending its exchange.
        self._connection.proxy.loop.call_soon(self.client.connection_lost, None)
        self._connection.forget(self._id)
