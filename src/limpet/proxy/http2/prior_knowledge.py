"""HTTP/2 without TLS: a client that knows that it is spoken here begins with it.

Source: RFC 9113 section 3.3.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from limpet.proxy.client_protocol import ClientConnection
from limpet.proxy.http2.connection import PREFACE, Http2Connection
from limpet.proxy.per_client import peer_ip

if TYPE_CHECKING:
    from limpet.core.model import Listener
    from limpet.proxy.server import Proxy


class FirstBytes(asyncio.Protocol):
    """A connection whose first bytes tell what is spoken; then it is left to who speaks that.

    Attributes:
        deadline_s: monotonic; when it has to be clear.
    """

    exchange = None
    is_fresh = True
    is_sending = False

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        self.proxy = proxy
        self.listener = listener
        self.limits = proxy.snapshot.client_limits
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set once connected
        self.deadline_s = 0.0
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes; close at once if there are too many clients."""
        self.transport = cast("asyncio.Transport", transport)
        self.deadline_s = time.monotonic() + self.limits.header_timeout_s
        if not self.proxy.enter(self, peer_ip(transport)):
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Hand over as soon as it is clear what is spoken."""
        data = self._data = self._data + data
        if len(data) < len(PREFACE) and PREFACE.startswith(data):
            return
        self.proxy.leave(self)
        kind = Http2Connection if data.startswith(PREFACE) else ClientConnection
        protocol = kind(self.proxy, self.listener)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        del exc
        self.proxy.leave(self)

    # called by the server

    def on_deadline(self) -> None:
        """Close: it said too little."""
        self.transport.abort()

    def close_idle(self) -> None:
        """Wait: the first request may be on its way."""

    def reset(self) -> None:
        """Close at once."""
        self.transport.abort()
