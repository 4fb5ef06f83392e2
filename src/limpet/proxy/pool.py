"""The connections to one target, and the requests that wait for their turn.

Theory of operation. A request takes a *slot* of the target (`in_flight`, bounded by
`max_in_flight`), then an idle connection or a new one. The most recently used connection is
taken first, so that the others grow old and are closed before the target closes them. A
request that may not be repeated avoids connections that have been idle for a while: the target
may be closing one at this very moment, and then nobody could tell whether the request arrived.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from limpet.proxy.target_protocol import TargetConnection

if TYPE_CHECKING:
    import asyncio

    from limpet.core.target import TargetState
    from limpet.proxy.exchange import Exchange

#: A request that is not safe to repeat goes out on a connection idle for less than this.
_FRESH_S = 1.0


class TargetPool:
    """Idle connections and waiting requests of one target.

    Attributes:
        state: the target; this pool is the writer of its `in_flight` and `queued`.
        idle: idle connections, the longest idle first.
        waiting: requests in the order of their arrival.
        exchanges: requests that hold a slot; for aborting them when the target is deregistered.
    """

    __slots__ = ("_loop", "exchanges", "idle", "state", "waiting")

    def __init__(self, state: TargetState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.idle: list[TargetConnection] = []
        self.waiting: deque[Exchange] = deque()
        self.exchanges: set[Exchange] = set()
        self._loop = loop

    def enter(self, exchange: Exchange) -> None:
        """Take a slot for a request."""
        self.state.in_flight += 1
        self.exchanges.add(exchange)

    def leave(self, exchange: Exchange) -> Exchange | None:
        """Give a slot back.

        Returns:
            The request whose turn it is; the caller has to start it.
        """
        self.state.in_flight -= 1
        self.exchanges.discard(exchange)
        return self.waiting.popleft() if self.waiting else None

    def take(self, *, is_repeatable: bool, now_s: float) -> TargetConnection | None:
        """Take an idle connection, or None if a new one is needed."""
        idle = self.idle
        if not idle or (not is_repeatable and now_s - idle[-1].idle_since_s > _FRESH_S):
            return None
        connection = idle.pop()
        connection.is_reused = True
        return connection

    async def connect(self) -> TargetConnection:
        """Open a new connection.

        Raises:
            OSError: the target cannot be reached.
        """
        address = self.state.target.address
        if address.path is not None:
            _, connection = await self._loop.create_unix_connection(
                lambda: TargetConnection(self), address.path
            )
        else:
            _, connection = await self._loop.create_connection(
                lambda: TargetConnection(self), address.host, address.port
            )
        return connection

    def give_back(self, connection: TargetConnection, max_idle: int, now_s: float) -> None:
        """Keep a connection whose request has ended for the next one, or close it."""
        connection.exchange = None
        if connection.is_closed or len(self.idle) >= max_idle:
            connection.abort()
        else:
            connection.idle_since_s = now_s
            self.idle.append(connection)

    def forget(self, connection: TargetConnection) -> None:
        """Note that a connection has closed by itself."""
        if connection in self.idle:
            self.idle.remove(connection)

    def close_idle(self, idle_before_s: float = float("inf")) -> None:
        """Close the connections that have been idle since before a monotonic time."""
        while self.idle and self.idle[0].idle_since_s < idle_before_s:
            self.idle.pop(0).abort()
