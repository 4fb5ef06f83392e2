"""What single clients use of a proxy, held to the limits of its snapshot.

With several workers the tables are shared, so a client has the same limits however its connections are
spread. They outlive reloads; a worker that dies takes its counts of connections with it.
"""

from __future__ import annotations

import math
import secrets
from array import array
from typing import TYPE_CHECKING

from limpet.core.per_client import connections, rate
from limpet.core.per_client.connections import ConnectionCounts
from limpet.core.per_client.numbering import EXEMPT, ClientNumbers
from limpet.core.per_client.rate import Buckets

if TYPE_CHECKING:
    import asyncio

    from limpet.core.model import Snapshot
    from limpet.proxy.board import Place

#: Length of the secret that numbers depend on.
SALT_BYTES = 16


def peer_ip(transport: asyncio.BaseTransport) -> str:
    """Return the address at the other end of a connection; "" for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return peer[0] if isinstance(peer, tuple) else ""


class PerClient:
    """The limits per client.

    Args:
        place: of this worker among several; None if it is the only one.

    Attributes:
        is_rated: whether requests are counted at all.
        retry_after_s: after which a client that asked too fast may ask again.
    """

    def __init__(self, snapshot: Snapshot, place: Place | None) -> None:
        self._place = place
        self._salt = place.salt() if place is not None else secrets.token_bytes(SALT_BYTES)
        self._buckets: Buckets | None = None
        self._counts: ConnectionCounts | None = None
        self._counted: dict[object, int] = {}
        self.use(snapshot)

    def use(self, snapshot: Snapshot) -> None:
        """Hold clients to other limits; who is connected already is not turned away."""
        limits = self._limits = snapshot.client_limits
        exempt = (*limits.exempt_networks, *snapshot.forwarding.trusted_proxies)
        self._numbers = ClientNumbers(self._salt, exempt)
        self.is_rated = limits.requests_per_s_per_client > 0
        self.retry_after_s = math.ceil(1 / limits.requests_per_s_per_client) if self.is_rated else 0
        if self.is_rated and self._buckets is None:
            place = self._place
            table = place.rate_table() if place is not None else array("q", bytes(8 * rate.NUMBERS))
            self._buckets = Buckets(table)
        if limits.max_connections_per_client and self._counts is None:
            self._counts = self._make_counts()

    def may_ask(self, client_ip: str, now_s: float) -> bool:
        """Count a request, unless its client has asked too fast.

        Args:
            now_s: monotonic.
        """
        client = self._numbers.of(client_ip)
        limits = self._limits
        if client == EXEMPT or self._buckets is None:
            return True
        return self._buckets.take(client, now_s, limits.requests_per_s_per_client, limits.burst)

    def enter(self, connection: object, client_ip: str) -> bool:
        """Count a connection, unless its client has too many."""
        most = self._limits.max_connections_per_client
        if not most or self._counts is None:
            return True
        client = self._numbers.of(client_ip)
        if client == EXEMPT:
            return True
        if not self._counts.enter(client, most):
            return False
        self._counted[connection] = client
        return True

    def leave(self, connection: object) -> None:
        """Count the end of a connection, if it was counted."""
        client = self._counted.pop(connection, None) if self._counted else None
        if client is not None and self._counts is not None:
            self._counts.leave(client)

    def _make_counts(self) -> ConnectionCounts:
        if self._place is not None:
            return ConnectionCounts(*self._place.connection_tables())
        return ConnectionCounts([array("q", bytes(8 * connections.NUMBERS))], 0)
