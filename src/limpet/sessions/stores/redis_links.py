"""Links to one Redis server: they send commands in one round trip and return the replies, in order.

Commands go straight over connections, which redis-py opens; its client, pool and pipeline objects would
cost as much again as the round trip itself.

A connection goes back to the idle ones only with every reply read. After any other end it is closed:
an unread reply would be the answer to someone else's question. If it broke or took too long, the idle ones
are closed with it, for what broke one has broken them all.

An event loop uses at most `MAX_CONNECTIONS` at the same time; who wants another one waits its turn. Threads
have one each while they need it. Connections that were idle for a minute are closed when another is
used, or instead of being used.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from limpet.sessions.errors import NotReplicatedError

if TYPE_CHECKING:
    from collections.abc import Callable

Command: TypeAlias = tuple[Any, ...]
MAX_CONNECTIONS = 32
_IDLE_S = 60.0
_SCAN_COUNT = 1000
_NO_REPLICA = "the replicas did not confirm in time"


class Link(Protocol):
    """A way to servers, blocking."""

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies.

        Raises:
            RedisError: the first of the replies that is an error, or a broken connection.
            OSError: there is no connection.
        """
        ...

    def remove(self, pattern: str) -> None:
        """Remove every key that matches, on every primary."""
        ...

    def close(self) -> None:
        """Close the connections that are not in use."""
        ...


class AsyncLink(Protocol):
    """The same for one event loop."""

    async def send(self, batch: list[Command]) -> list[Any]:
        """Do what `Link.send` does."""
        ...

    async def remove(self, pattern: str) -> None:
        """Do what `Link.remove` does."""
        ...

    def close(self) -> None:
        """Do what `Link.close` does."""
        ...


class _Idle:
    # Connections that are not in use; the one that was used last on top.

    def __init__(self) -> None:
        self._stack: deque[tuple[Any, float]] = deque()

    def put(self, connection: Any) -> list[Any]:
        # Returns those to close.
        now_s = time.monotonic()
        self._stack.append((connection, now_s))
        old = []
        with suppress(IndexError):  # another thread may take the last one meanwhile
            while len(self._stack) > MAX_CONNECTIONS or self._stack[0][1] < now_s - _IDLE_S:
                old.append(self._stack.popleft()[0])
        return old

    def take(self) -> tuple[Any | None, list[Any]]:
        # Returns one to use, and those to close.
        try:
            connection, since_s = self._stack.pop()
        except IndexError:
            return None, []
        if since_s < time.monotonic() - _IDLE_S:  # the others were not used for longer
            return None, [connection, *self.all()]
        return connection, []

    def all(self) -> list[Any]:
        taken, self._stack = self._stack, deque()
        return [connection for connection, _ in taken]


class Direct:
    """Connections of all threads to one server.

    Args:
        make: returns a connection of `redis_connections` that is not connected yet.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._idle = _Idle()

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        return checked(self.exchange(batch))

    def exchange(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies, errors among them."""
        connection, old = self._idle.take()
        if old:
            _disconnect(old)
        connection = connection or self._make()
        replies: list[Any] = []
        try:
            if not connection.is_connected:
                connection.connect()
            connection.exchange(batch, replies)
        except BaseException as error:
            connection.disconnect()
            if isinstance(error, TimeoutError | RedisTimeoutError) and _lacks_replicas_only(batch, replies):
                raise NotReplicatedError(_NO_REPLICA) from error
            self.close()
            raise
        if old := self._idle.put(connection):
            _disconnect(old)
        return replies

    def remove(self, pattern: str) -> None:
        """Remove every key that matches."""
        cursor = b"0"
        while True:
            ((cursor, keys),) = self.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
            if keys:
                self.send([("UNLINK", key) for key in keys])  # they are of several slots
            if cursor == b"0":
                return

    def close(self) -> None:
        """Close the connections that are not in use."""
        _disconnect(self._idle.all())


class AsyncDirect:
    """`Direct` for one event loop.

    Args:
        make: returns an asyncio connection of `redis_connections` that is not connected yet.
        timeout_s: how long commands that are sent together may take.
    """

    def __init__(self, make: Callable[[], Any], timeout_s: float) -> None:
        self._make = make
        self._timeout_s = timeout_s
        self._idle = _Idle()
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)

    async def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        return checked(await self.exchange(batch))

    async def exchange(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies, errors among them."""
        replies: list[Any] = []
        try:
            async with asyncio.timeout(self._timeout_s), self._turns:
                await self._exchange(batch, replies)
        except Exception as error:
            if isinstance(error, TimeoutError) and _lacks_replicas_only(batch, replies):
                raise NotReplicatedError(_NO_REPLICA) from error
            self.close()
            raise
        return replies

    async def _exchange(self, batch: list[Command], replies: list[Any]) -> None:
        connection, old = self._idle.take()
        if old:
            _abort(old)
        connection = connection or self._make()
        try:
            if not connection.is_connected:
                await connection.connect()
            await connection.exchange(batch, replies)
        except BaseException:
            _abort([connection])
            raise
        if old := self._idle.put(connection):
            _abort(old)

    async def remove(self, pattern: str) -> None:
        """Remove every key that matches."""
        cursor = b"0"
        while True:
            ((cursor, keys),) = await self.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
            if keys:
                await self.send([("UNLINK", key) for key in keys])
            if cursor == b"0":
                return

    def close(self) -> None:
        """Close the connections that are not in use."""
        _abort(self._idle.all())


def _disconnect(connections: list[Any]) -> None:
    for connection in connections:
        connection.disconnect()


def _abort(connections: list[Any]) -> None:
    # At once and without waiting, so a cancelled request can do it; what a deaf server did not take is
    # dropped.
    for connection in connections:
        writer = connection._writer  # noqa: SLF001
        if writer is not None:
            writer.transport.abort()
            connection._close()  # noqa: SLF001


def _lacks_replicas_only(batch: list[Command], replies: list[Any]) -> bool:
    # The server looks after WAIT's own timeout ten times a second only.
    return batch[-1][0] == "WAIT" and len(replies) == len(batch) - 1


def checked(replies: list[Any]) -> list[Any]:
    """Return the replies.

    Raises:
        ResponseError: the first that is one.
    """
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies
