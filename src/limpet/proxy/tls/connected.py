"""TLS with a target: a connection that is there once the target has shown who it is."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from limpet.proxy.tls.contexts import client_context
from limpet.proxy.tls.stream import TlsStream

if TYPE_CHECKING:
    import asyncio

    from limpet.core.target import Target
    from limpet.core.tls import TargetTls


class ConnectedTls(TlsStream):
    """A connection to a target.

    Attributes:
        is_ready: done when the handshake is over; its exception says why it failed.
    """

    __slots__ = ("_protocol", "_server_name", "_settings", "is_ready")
    #: A response without a length could not be told from a part of it.
    is_cut_an_error = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.Protocol,
        settings: TargetTls,
        server_name: str,
    ) -> None:
        super().__init__(loop)
        self._protocol = protocol
        self._settings = settings
        self._server_name = server_name
        self.is_ready: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        super().connection_made(transport)
        self.shake(client_context(self._settings), is_server=False, server_name=self._server_name)

    def give_up(self) -> None:
        """Close: nobody waits any more."""
        self.is_ready.cancel()
        if self._raw is not None:
            self.abort()

    def opened(self) -> asyncio.Protocol:
        """Tell who waits."""
        if not self.is_ready.done():
            self.is_ready.set_result(None)
        return self._protocol

    def failed(self, error: Exception | None) -> None:
        """Tell who waits."""
        if not self.is_ready.done():
            self.is_ready.set_exception(error or ConnectionResetError(None, "closed in the handshake"))


def server_name(target: Target, settings: TargetTls) -> str:
    """Return the name, or the IP address, that a target's certificate must be for."""
    return settings.server_name or target.host_name.removesuffix(".") or target.address.host or ""


def why_not_connected(error: OSError) -> str:
    """Return why a target cannot be reached, for the operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "unknown").lower().replace("_", " ")
        return f"the TLS handshake failed: {reason}"
    return f"cannot connect: {error.strerror or error}"
