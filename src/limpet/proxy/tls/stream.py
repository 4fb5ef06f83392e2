"""A TLS connection: a protocol to the socket's transport, and a transport to the protocol within.

Theory of operation. Bytes from the socket go into one memory buffer and out of OpenSSL as
plain data, at most a record at a time; what is written comes out of another. There are no
buffers beside these and the socket's own, so back-pressure is the socket's: it is passed on in
both directions.

    shaking -> open -> closing

asyncio's own TLS would do for this, but not for what a balancer needs: a PROXY header before
the first TLS byte, an answer to plain HTTP, the number and the age of handshakes that go on,
why they failed, and a stream that may end in one direction only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Of plain data in a record. Source: RFC 8446 section 5.1.
_RECORD_BYTES = 16384


class TlsStream(asyncio.Transport, asyncio.Protocol):
    """What both sides have in common; a subclass begins the handshake.

    Attributes:
        tls: the state of TLS, from the first byte of the handshake.
    """

    __slots__ = (
        "_error",
        "_has_ended",
        "_has_failed",
        "_has_sent_end",
        "_incoming",
        "_inner",
        "_is_closing",
        "_is_cut",
        "_is_open",
        "_is_paused",
        "_loop",
        "_outgoing",
        "_raw",
        "_wants_end",
        "tls",
    )
    #: An end of the socket's stream without an end of TLS's: whether it is an error.
    is_cut_an_error = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._raw: asyncio.Transport = cast("asyncio.Transport", None)  # set once connected
        self._inner: asyncio.Protocol = cast("asyncio.Protocol", None)  # set once open
        self.tls: ssl.SSLObject = cast("ssl.SSLObject", None)  # set by `shake`
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._is_open = False
        self._is_closing = False
        self._is_paused = False
        self._is_cut = False
        self._has_failed = False
        self._has_ended = False
        self._has_sent_end = False
        self._wants_end = False
        self._error: Exception | None = None

    # for subclasses

    def shake(self, context: ssl.SSLContext, *, is_server: bool, server_name: str | None = None) -> None:
        """Begin the handshake."""
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=is_server, server_hostname=server_name
        )
        self._go_on_shaking()

    def greet(self, data: bytes) -> None:
        """Take the next bytes of the handshake."""
        self._incoming.write(data)
        self._go_on_shaking()

    def opened(self) -> asyncio.Protocol:
        """Return the protocol within, now that the handshake is over."""
        raise NotImplementedError

    def failed(self, error: Exception | None) -> None:
        """Note that the handshake has failed, or the connection was lost in it; called once."""
        raise NotImplementedError

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket's transport."""
        self._raw = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in what came from the socket."""
        if self._is_open:
            self._incoming.write(data)
            self._read()
        elif not self._is_closing:
            self.greet(data)

    def eof_received(self) -> bool:
        """Note the end of the socket's stream."""
        if not self._is_open:
            return False
        self._is_cut = True
        if not self._incoming.pending:  # else what came before is read first
            self._end(is_clean=False)
        return not self._is_closing

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the protocol within, or that there never was one."""
        self._is_closing = True
        if self._is_open:
            self._inner.connection_lost(self._error or exc)
        else:
            self._give_up(exc)

    def pause_writing(self) -> None:
        """Pass back-pressure on."""
        if self._is_open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it is over."""
        if self._is_open:
            self._inner.resume_writing()

    # the transport of the protocol within

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self.tls if name == "ssl_object" else self._raw.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the stream to another protocol."""
        self._inner = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol within."""
        return self._inner

    def is_closing(self) -> bool:
        """Return whether nothing is read or written any more."""
        return self._is_closing

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Encrypt and send."""
        if self._is_closing or self._has_sent_end or not data:
            return
        send = self.tls.write
        try:
            sent = send(data)
            if sent < len(data):
                rest = memoryview(data)[sent:]
                while rest:
                    rest = rest[send(rest) :]
        except ssl.SSLError as error:
            self._break(error)
            return
        self._raw.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[int]]) -> None:
        """Encrypt and send."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True: TLS has an end for each direction. Source: RFC 8446 section 6.1."""
        return True

    def write_eof(self) -> None:
        """End this direction; the other may go on."""
        if self._incoming.pending:  # OpenSSL takes data that comes after an end of ours for an error
            self._wants_end = True
        elif not self._is_closing and not self._has_sent_end:
            self._send_end()
            self._raw.write_eof()

    def close(self) -> None:
        """Send what was written and the end of TLS, then close; the peer's end is not waited for."""
        if not self._is_closing:
            self._send_end()
            self._is_closing = True
            self._raw.close()

    def abort(self) -> None:
        """Close at once, without an end that the peer might take for a good one."""
        self._is_closing = True
        self._raw.abort()

    def is_reading(self) -> bool:
        """Return whether data is passed to the protocol within."""
        return not self._is_paused and not self._is_closing

    def pause_reading(self) -> None:
        """Stop reading."""
        if not self._is_paused:
            self._is_paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading, with what came before first."""
        if self._is_paused:
            self._is_paused = False
            self._raw.resume_reading()
            if self._incoming.pending:
                self._loop.call_soon(self._read)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when back-pressure begins and ends."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes, encrypted, are not sent yet."""
        return self._raw.get_write_buffer_size()

    # inside

    def _go_on_shaking(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer why
            self._is_closing = True
            self._raw.close()
            self._give_up(error)
            return
        self._flush()
        self._inner = self.opened()
        self._is_open = True
        self._inner.connection_made(self)
        if self._incoming.pending:
            self._read()

    def _give_up(self, error: Exception | None) -> None:
        if not self._has_failed:
            self._has_failed = True
            self.failed(error)

    def _read(self) -> None:
        read, incoming = self.tls.read, self._incoming
        try:
            while not self._is_paused and not self._is_closing:
                data = read(_RECORD_BYTES)
                if not data:
                    self._end(is_clean=True)
                    return
                self._inner.data_received(data)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the end, after ours
            self._end(is_clean=True)
            return
        except ssl.SSLError as error:
            self._flush()
            self._break(error)
            return
        self._flush()  # an answer to what was no data, such as a new key
        if incoming.pending:
            return
        if self._wants_end:
            self._wants_end = False
            self.write_eof()
        if self._is_cut:
            self._end(is_clean=False)

    def _end(self, *, is_clean: bool) -> None:
        if self._has_ended or self._is_closing:
            return
        self._has_ended = True
        if not is_clean and self.is_cut_an_error:
            self._break(ssl.SSLEOFError("the stream was cut"))
        elif not self._inner.eof_received():
            self.close()

    def _break(self, error: Exception) -> None:
        if not self._is_closing:
            self._error = error
            self.abort()

    def _send_end(self) -> None:
        if not self._has_sent_end:
            self._has_sent_end = True
            with contextlib.suppress(ssl.SSLError):  # the peer's own end is not there yet
                self.tls.unwrap()
            self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._is_closing:
            self._raw.write(self._outgoing.read())
