"""TLS with a client: from its first byte to the connection within that speaks HTTP.

Theory of operation. A connection to a TLS listener may begin with a PROXY protocol header, which
is not encrypted, and goes on with the handshake. All of that has the time of a request head.
Until it is over the connection is one of `Proxy.shaking`, and counts as a client's. Then the
protocol that both sides agreed on (ALPN) takes over.
"""

from __future__ import annotations

import ssl
import time
from collections import Counter
from typing import TYPE_CHECKING

from limpet.errors import ProtocolError
from limpet.proxy.client_protocol import ClientConnection
from limpet.proxy.http2.connection import Http2Connection
from limpet.proxy.per_client import peer_ip
from limpet.proxy.proxy_protocol import parse_proxy_header
from limpet.proxy.tls.stream import TlsStream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from limpet.core.model import Listener
    from limpet.proxy.server import Proxy
    from limpet.proxy.tls.contexts import ServerContexts

#: What is spoken within TLS, by its ALPN name; the best first.
PROTOCOLS: dict[str, Callable[[Proxy, Listener], asyncio.Protocol]] = {
    "h2": Http2Connection,
    "http/1.1": ClientConnection,
}

_HANDSHAKE = 0x16
_NOT_TLS = b"Speak TLS here: write https:// instead of http://.\n"
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_NOT_TLS), _NOT_TLS)
)


class Handshakes:
    """What became of the handshakes with clients.

    Attributes:
        done: that succeeded.
        resumed: of these, the ones that took up an earlier session.
        failed: by cause, in OpenSSL's words or ours (`timeout`, `closed`, `plain_http`, ...).
    """

    def __init__(self) -> None:
        self.done = 0
        self.resumed = 0
        self.failed: Counter[str] = Counter()


class AcceptedTls(TlsStream):
    """A client's connection to a TLS listener.

    Attributes:
        deadline_s: monotonic; when the handshake has to be over.
    """

    __slots__ = (
        "_before",
        "_client_ip",
        "_contexts",
        "_is_greeted",
        "_listener",
        "_needs_preamble",
        "_port",
        "_proxy",
        "deadline_s",
    )

    def __init__(self, proxy: Proxy, listener: Listener, contexts: ServerContexts) -> None:
        super().__init__(proxy.loop)
        self._proxy = proxy
        self._listener = listener
        self._contexts = contexts
        self._needs_preamble = listener.is_proxy_protocol
        self._before = b""
        self._client_ip = ""
        self._port = 0
        self._is_greeted = False
        self.deadline_s = 0.0

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first bytes; close at once if there are too many clients."""
        super().connection_made(transport)
        proxy = self._proxy
        limits = proxy.snapshot.client_limits
        if not proxy.enter_shaking(self, peer_ip(transport)):
            proxy.leave_shaking(self)
            self._refuse("too_many")
        self.deadline_s = time.monotonic() + limits.header_timeout_s

    def greet(self, data: bytes) -> None:
        """Read the PROXY protocol's header, then see whether this is TLS at all."""
        if self._is_greeted:
            super().greet(data)
            return
        if self._needs_preamble:
            data = self._read_preamble(self._before + data)
            if not data:
                return
        if data[0] == _HANDSHAKE:
            self._is_greeted = True
            self._incoming.write(data)
            self.shake(self._contexts.first(time.monotonic()), is_server=True)
        elif data[:1].isupper():
            self._raw.write(_BAD_REQUEST)
            self._refuse("plain_http")
        else:
            self._refuse("no_tls")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._proxy.leave_shaking(self)
        super().connection_lost(exc)

    # called by the server

    def on_deadline(self) -> None:
        """Give a client up whose handshake takes too long, or that does not read why it failed."""
        self._give_up(TimeoutError())
        self.abort()

    # called by the stream

    def opened(self) -> asyncio.Protocol:
        """Hand over to what both sides agreed on; HTTP/1.1 if they did not."""
        proxy = self._proxy
        proxy.leave_shaking(self)
        proxy.handshakes.done += 1
        if self.tls.session_reused:
            proxy.handshakes.resumed += 1
        return PROTOCOLS[self.tls.selected_alpn_protocol() or "http/1.1"](proxy, self._listener)

    def failed(self, error: Exception | None) -> None:
        """Count why."""
        self._proxy.handshakes.failed[_cause(error)] += 1

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what is known of the connection; of its ends, what the PROXY header says."""
        if name == "peername" and self._client_ip:
            return self._client_ip, 0
        if name == "sockname" and self._client_ip:
            return "", self._port
        return super().get_extra_info(name, default)

    def _refuse(self, cause: str) -> None:
        self._has_failed = True
        self._proxy.handshakes.failed[cause] += 1
        self._is_closing = True
        self._raw.close()

    def _read_preamble(self, data: bytes) -> bytes:
        # Returns what follows the header; b"" while there is nothing.
        try:
            header = parse_proxy_header(data)
        except ProtocolError:
            self._refuse("no_proxy_header")
            return b""
        if header is None:
            self._before = data
            return b""
        self._needs_preamble = False
        peer = self._raw.get_extra_info("peername")
        is_trusted = not isinstance(peer, tuple) or self._proxy.is_trusted(peer[0])
        if header.client_ip is not None and is_trusted:
            self._client_ip, self._port = header.client_ip, header.port
            if not self._proxy.is_welcome(self, header.client_ip):
                self._refuse("too_many")
                return b""
        return data[header.size :]


def _cause(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLError):
        cause = (error.reason or "unknown").lower()
        return "unrecognized_name" if cause == "callback_failed" else cause  # it is our only callback
    return "timeout" if isinstance(error, TimeoutError) else "closed"
