"""A switched connection (WebSocket or any Upgrade): bytes go both ways unread.

Each direction ends on its own: one side's end of stream is passed on, and the tunnel is over
when both have ended or one side is lost. Source: RFC 9110 section 7.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.proxy.exchange import Exchange
    from limpet.proxy.target_protocol import TargetConnection


class Tunnel:
    """Joins a client's transport and a target's."""

    __slots__ = ("_client", "_client_ended", "_exchange", "_target", "_target_ended")

    def __init__(self, exchange: Exchange, target: TargetConnection) -> None:
        self._exchange = exchange
        self._client = exchange.client.transport
        self._target = target.transport
        self._client_ended = False
        self._target_ended = False

    def from_client(self, data: bytes) -> None:
        """Pass bytes on to the target."""
        self._exchange.bytes_in += len(data)
        self._exchange.extend_tunnel()
        self._target.write(data)

    def from_target(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self._exchange.bytes_out += len(data)
        self._exchange.extend_tunnel()
        self._client.write(data)

    def client_finished(self) -> None:
        """Pass the client's end of stream on."""
        self._client_ended = True
        if self._target_ended:
            self._exchange.end_tunnel()
        elif self._target.can_write_eof():
            self._target.write_eof()

    def target_finished(self) -> None:
        """Pass the target's end of stream on."""
        self._target_ended = True
        if self._client_ended:
            self._exchange.end_tunnel()
        elif self._client.can_write_eof():
            self._client.write_eof()

    def client_lost(self) -> None:
        """End the tunnel: the client is gone."""
        self._exchange.end_tunnel()

    def target_lost(self) -> None:
        """End the tunnel: the target is gone."""
        self._exchange.end_tunnel()

    def close(self) -> None:
        """Close both sides, after what was written to them."""
        self._client.close()
        self._target.close()
        if self._target.get_write_buffer_size():  # the client has a deadline for it, a target has none
            client = self._exchange.client
            client.proxy.loop.call_later(client.limits.send_timeout_s, self._target.abort)

    def pause_client(self) -> None:
        """Stop reading from the client."""
        self._client.pause_reading()

    def resume_client(self) -> None:
        """Go on reading from the client."""
        self._client.resume_reading()

    def pause_target(self) -> None:
        """Stop reading from the target."""
        self._target.pause_reading()

    def resume_target(self) -> None:
        """Go on reading from the target."""
        self._target.resume_reading()
