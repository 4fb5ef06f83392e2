"""A client's HTTP/2 connection: frames to streams and back. The h2 library knows the protocol.

Theory of operation. Bytes go into the library's engine, events come out; each request gets a
stream with a `ClientConnection` of its own. What streams send is collected and written once per
round of the event loop, in turns, so that no stream waits behind a large one. A stream whose
target is slow does not give its window back; one whose client is slow does not read its target.

Draining: GOAWAY tells the client to open no stream any more, and the connection closes with its
last stream. The engine takes a GOAWAY for the end, so that frame is written beside it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from limpet.errors import ProtocolError
from limpet.proxy.client_protocol import CLOSED
from limpet.proxy.http2.engine import Engine
from limpet.proxy.http2.frame_size import FrameSizes
from limpet.proxy.http2.nuisance import Nuisance
from limpet.proxy.http2.request import http1_head
from limpet.proxy.http2.stream import StreamTransport
from limpet.proxy.per_client import peer_ip

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.model import Listener
    from limpet.proxy.server import Proxy

#: What a client begins with. Source: RFC 9113 section 3.4.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: Bytes of bodies that are written at once; the rest waits in the streams, of which each has its turn.
_ROUND_BYTES = 262144
#: Bytes that may wait for a client that does not read; the streams' own are not among them.
_MAX_UNSENT_BYTES = 1048576


class Http2Connection(asyncio.Protocol):
    """A client's connection that speaks HTTP/2.

    Attributes:
        exchange: None; there for whoever treats all connections alike.
        deadline_s: monotonic; see `on_deadline`.
        engine: of the h2 library.
    """

    exchange = None
    is_fresh = False  # a client that is told to go away asks again elsewhere

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        self.proxy = proxy
        self.listener = listener
        self.limits = proxy.snapshot.client_limits
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set once connected
        self.deadline_s = 0.0
        self.engine = Engine(self.limits.max_head_bytes)
        self._streams: dict[int, StreamTransport] = {}
        self._nuisance = Nuisance()
        self._sizes = FrameSizes(len(PREFACE))
        self._gone: set[int] = set()  # streams that were reset by what was read last
        self._left_in_round = _ROUND_BYTES
        self._to_flush: dict[StreamTransport, None] = {}
        self._is_sending_soon = False
        self._is_unread = False
        self._is_going_away = False
        self.phase = 0

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what a client may do; close at once if there are too many clients."""
        self.transport = cast("asyncio.Transport", transport)
        self.deadline_s = time.monotonic() + self.limits.header_timeout_s
        if not self.proxy.enter(self, peer_ip(transport)):
            self._close()
            return
        self._send()

    def data_received(self, data: bytes) -> None:
        """Read frames."""
        if self.phase == CLOSED:
            return
        try:
            self._sizes.feed(data)
            events = self.engine.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._give_up()
            return
        except ProtocolError:
            self.engine.close_connection(ErrorCodes.FRAME_SIZE_ERROR)
            self._give_up()
            return
        # Resets first: the engine knows of them already, and would take no answer any more.
        self._gone = {event.stream_id for event in events if type(event) is h2.events.StreamReset}
        for stream_id in self._gone:
            self._lose(stream_id)
        for event in events:
            if self.phase == CLOSED:
                return
            act = _ACTS.get(type(event))
            if act is not None:
                act(self, event)
        self.send_soon()

    def eof_received(self) -> bool:
        """End with the client: nothing is left to be said in one direction only."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End what goes on."""
        del exc
        self.phase = CLOSED
        self.proxy.leave(self)
        for stream in list(self._streams.values()):
            stream.lose()

    def pause_writing(self) -> None:
        """Stop sending: the client is slow."""
        self._is_unread = True
        self.deadline_s = time.monotonic() + self.limits.send_timeout_s

    def resume_writing(self) -> None:
        """Go on sending."""
        self._is_unread = False
        self._settle_deadline()
        self._flush_all()

    # called by the server

    def on_deadline(self) -> None:
        """Close: the client sent nothing, or does not read."""
        if self._is_unread or self.phase == CLOSED:
            self.phase = CLOSED
            self.transport.abort()
        elif self._streams:
            self.deadline_s = time.monotonic() + self.limits.keep_alive_s  # they have deadlines of their own
        else:
            self.go_away()

    def close_idle(self) -> None:
        """Open no more streams; for draining."""
        self.go_away()

    def reset(self) -> None:
        """Close at once."""
        self.phase = CLOSED
        self.transport.abort()

    @property
    def is_sending(self) -> bool:
        """Whether the client has not taken all of what was answered."""
        return bool(self._streams or self.transport.get_write_buffer_size())

    def go_away(self) -> None:
        """Tell the client to open no stream any more, and close with the last one."""
        if not self._is_going_away:
            self._is_going_away = True
            self._send()
            last = self.engine.highest_inbound_stream_id
            self.transport.write(GoAwayFrame(0, last_stream_id=last, error_code=0).serialize())
        if not self._streams:
            self._close()

    # called by streams

    def room(self, stream_id: int) -> int:
        """Return how many bytes of a stream may be sent in one frame now."""
        if self._is_unread:
            return 0
        return min(self.window(stream_id), self.engine.max_outbound_frame_size, self._left_in_round)

    def window(self, stream_id: int) -> int:
        """Return how many bytes of a stream the client lets us send."""
        return int(self.engine.local_flow_control_window(stream_id))

    def send_body(self, stream_id: int, part: bytes, *, is_last: bool) -> None:
        """Send a part of a body, for which there is room."""
        self.engine.send_data(stream_id, part, end_stream=is_last)
        self._left_in_round -= len(part)

    def acknowledge(self, stream_id: int, count: int) -> None:
        """Give back what a part of a body has taken of the windows."""
        if self.phase != CLOSED:
            self.engine.acknowledge_received_data(count, stream_id)

    def wants_flush(self, stream: StreamTransport) -> None:
        """Send what a stream has written, in the next round."""
        self._to_flush[stream] = None
        self.send_soon()

    def reset_stream(self, stream_id: int, code: ErrorCodes) -> None:
        """Tell the client that a stream is over before its end."""
        if self.phase != CLOSED:
            try:
                self.engine.reset_stream(stream_id, code)
            except h2.exceptions.ProtocolError:  # the client was faster
                return
            self.send_soon()

    def finished(self, stream_id: int, *, is_good: bool) -> None:
        """Note a complete response.

        Args:
            is_good: it is no error, so the request was no nuisance.
        """
        if is_good:
            self._nuisance.answered()
        stream = self.engine.streams.get(stream_id)
        if stream is not None and not stream.closed:
            self.reset_stream(stream_id, ErrorCodes.NO_ERROR)

    def forget(self, stream_id: int) -> None:
        """Note that a stream is over."""
        self._streams.pop(stream_id, None)
        if not self._streams:
            self._settle_deadline()
            if self._is_going_away or self.proxy.is_draining:
                self.proxy.loop.call_soon(self._close_unless_busy)

    def send_soon(self) -> None:
        """Write in the next round of the event loop what has been collected by then."""
        if not self._is_sending_soon:
            self._is_sending_soon = True
            self.proxy.loop.call_soon(self._send_round)

    # events

    def on_request(self, event: h2.events.RequestReceived) -> None:
        """Open a stream."""
        stream_id, has_body = event.stream_id, event.stream_ended is None
        if stream_id in self._gone:
            return
        if self._is_going_away or self.proxy.is_draining:
            self.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            self.go_away()
            return
        try:
            head = http1_head(event.headers, has_body=has_body)
        except ProtocolError as error:
            self._refuse(stream_id, error)
            return
        method = head[: head.index(b" ")]
        in_chunks = has_body and b"\r\ntransfer-encoding: chunked\r\n" in head
        stream = self._streams[stream_id] = StreamTransport(self, stream_id, method, in_chunks=in_chunks)
        stream.client.connection_made(stream)
        stream.client.data_received(head)

    def on_data(self, event: h2.events.DataReceived) -> None:
        """Pass a part of a body on."""
        stream_id, flow_bytes = event.stream_id, event.flow_controlled_length
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_over:  # nobody wants it
            self.acknowledge(stream_id, flow_bytes)
        else:
            stream.feed(event.data, flow_bytes)
        if not event.data and event.stream_ended is None:
            self._count_nuisance()

    def on_end(self, event: h2.events.StreamEnded) -> None:
        """Pass the end of a request on."""
        stream = self._streams.get(event.stream_id)
        if stream is not None and not stream.is_over:
            stream.feed_end(b"")

    def on_trailers(self, event: h2.events.TrailersReceived) -> None:
        """Read trailers over: few servers know them, and they are no part of the body."""

    def on_window(self, event: h2.events.WindowUpdated) -> None:
        """Send what has waited for a window."""
        if event.stream_id:
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                self._to_flush[stream] = None
        else:
            self._to_flush.update(dict.fromkeys(self._streams.values()))

    def on_settings(self, event: h2.events.RemoteSettingsChanged) -> None:
        """Send what has waited for a larger window."""
        del event
        self._to_flush.update(dict.fromkeys(self._streams.values()))
        self._count_nuisance()

    def on_nothing(self, event: h2.events.Event) -> None:
        """Count what brings no request forward."""
        del event
        self._count_nuisance()

    def on_goodbye(self, event: h2.events.ConnectionTerminated) -> None:
        """Close with the last stream: the client opens none any more."""
        del event
        self._is_going_away = True
        if not self._streams:
            self._close()

    # inside

    def _lose(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.lose()
        if self._nuisance.reset(time.monotonic()):
            self._calm_down()

    def _refuse(self, stream_id: int, error: ProtocolError) -> None:
        # What cannot be an HTTP/1.1 request is answered here, and has no exchange.
        detail = error.detail.encode() + b"\n"
        fields = [
            (b":status", b"%d" % error.kind.status),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(detail)),
        ]
        self.engine.send_headers(stream_id, fields)
        self.engine.send_data(stream_id, detail, end_stream=True)
        self.finished(stream_id, is_good=False)
        self._count_nuisance()

    def _count_nuisance(self) -> None:
        if self._nuisance.other(time.monotonic()):
            self._calm_down()

    def _calm_down(self) -> None:
        if self.phase != CLOSED:
            self.engine.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            self._give_up()

    def _give_up(self) -> None:
        # The engine has something to say about why.
        self._send()
        self._close()
        for stream in list(self._streams.values()):
            stream.lose()

    def _settle_deadline(self) -> None:
        if self._is_unread:  # then it is until when something has to be read
            return
        self.deadline_s = time.monotonic() + self.limits.keep_alive_s

    def _flush_all(self) -> None:
        self._to_flush.update(dict.fromkeys(self._streams.values()))
        self.send_soon()

    def _send_round(self) -> None:
        self._is_sending_soon = False
        if self.phase == CLOSED:
            return
        wanted, self._to_flush = self._to_flush, {}
        for stream in wanted:
            stream.flush()
            if stream.wants_turn:
                self._to_flush[stream] = None
        self._send()
        self._left_in_round = _ROUND_BYTES
        if self._to_flush and not self._is_unread:
            self.send_soon()
        if self.transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            self.reset()  # it makes us say more and more, and does not listen

    def _send(self) -> None:
        data = self.engine.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def _close_unless_busy(self) -> None:
        if not self._streams and self.phase != CLOSED:
            self._send_round()
            self.go_away()

    def _close(self) -> None:
        self.phase = CLOSED
        self.deadline_s = time.monotonic() + self.limits.send_timeout_s
        self.transport.close()


_ACTS: dict[type, Callable[[Http2Connection, Any], None]] = {
    h2.events.RequestReceived: Http2Connection.on_request,
    h2.events.DataReceived: Http2Connection.on_data,
    h2.events.StreamEnded: Http2Connection.on_end,
    h2.events.TrailersReceived: Http2Connection.on_trailers,
    h2.events.WindowUpdated: Http2Connection.on_window,
    h2.events.RemoteSettingsChanged: Http2Connection.on_settings,
    h2.events.PingReceived: Http2Connection.on_nothing,
    h2.events.PriorityUpdated: Http2Connection.on_nothing,
    h2.events.UnknownFrameReceived: Http2Connection.on_nothing,
    h2.events.ConnectionTerminated: Http2Connection.on_goodbye,
}
