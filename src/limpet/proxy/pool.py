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

from limpet.proxy.http1.response import ResponseReader
from limpet.proxy.target_protocol import TargetConnection
from limpet.proxy.tls.connected import ConnectedTls, server_name

if TYPE_CHECKING:
    import asyncio

    from limpet.core.target import TargetState
    from limpet.core.tls import TargetTls
    from limpet.proxy.exchange import Exchange

#: A request that is not safe to repeat goes out on a connection idle for less than this.
_FRESH_S = 1.0
#: How often those that wait for a slot look whether another worker has left one.
_LOOK_S = 0.005


class TargetPool:
    """Idle connections and waiting requests of one target.

    Attributes:
        state: the target.
        reader: of its responses.
        idle: idle connections, the longest idle first.
        waiting: requests in the order of their arrival.
    """

    __slots__ = ("_is_watching", "_loop", "idle", "reader", "state", "waiting")

    def __init__(self, state: TargetState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.reader = ResponseReader()
        self.idle: list[TargetConnection] = []
        self.waiting: deque[Exchange] = deque()
        self._loop = loop
        self._is_watching = False

    def take(self, is_repeatable: bool, now_s: float) -> TargetConnection | None:
        """Take an idle connection, or None if a new one is needed."""
        idle = self.idle
        if not idle or (not is_repeatable and now_s - idle[-1].idle_since_s > _FRESH_S):
            return None
        connection = idle.pop()
        connection.is_reused = True
        return connection

    def wake(self) -> None:
        """Let those go on that wait for a slot, as many as there are slots; all if the target has left."""
        state = self.state
        while self.waiting:
            decision = self.waiting[0].decision
            limit = decision.group.limits.max_in_flight if decision is not None else 0
            if state.takes_sticky and limit and state.load >= limit:
                break
            self.waiting.popleft().leave_queue()

    def watch(self) -> None:
        """Look again and again whether another worker has left a slot, as long as someone waits."""
        if not self._is_watching:
            self._is_watching = True
            self._loop.call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self.wake()
        if self.waiting:
            self._loop.call_later(_LOOK_S, self._look)
        else:
            self._is_watching = False

    async def connect(self, tls: TargetTls) -> TargetConnection:
        """Open a new connection.

        Args:
            tls: how TLS is spoken, if the target's address asks for it.

        Raises:
            OSError: the target cannot be reached, or is not who it should be.
        """
        address = self.state.target.address
        connection = TargetConnection(self)
        try:
            if address.path is not None:
                await self._loop.create_unix_connection(lambda: connection, address.path)
            elif address.is_tls:
                await self._connect_tls(connection, tls)
            else:
                host, port = address.host or "", address.port or 0
                await self._loop.create_connection(lambda: connection, host, port)
        except BaseException:
            if connection.transport is not None:  # given up just as it was established
                connection.abort()
            raise
        return connection

    async def _connect_tls(self, connection: TargetConnection, tls: TargetTls) -> None:
        target = self.state.target
        host, port = target.address.host or "", target.address.port or 0
        stream = ConnectedTls(self._loop, connection, tls, server_name(target, tls))
        try:
            await self._loop.create_connection(lambda: stream, host, port)
            await stream.is_ready
        except BaseException:
            stream.give_up()
            raise

    def give_back(self, connection: TargetConnection, max_idle: int, now_s: float) -> None:
        """Keep a connection whose request has ended for the next one, or close it."""
        # Unsent bytes: the target answered before it read the body, and may never read it.
        if connection.is_closed or len(self.idle) >= max_idle or connection.transport.get_write_buffer_size():
            connection.abort()
        else:
            connection.exchange = None
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
