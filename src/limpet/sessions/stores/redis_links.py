"""Links to Redis: they send commands in one round trip and return the replies, in order.

To one server commands go straight over redis-py's connections, which parse and reconnect; its
client and pipeline objects would cost as much again as the round trip itself. To a Cluster they
go through redis-py's cluster client, which knows the slots.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable

Command: TypeAlias = tuple[Any, ...]
_SCAN_COUNT = 1000


class Link(Protocol):
    """A way to servers, blocking."""

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies.

        Raises:
            RedisError: the first of the replies that is an error, or a broken connection.
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

    async def close(self) -> None:
        """Do what `Link.close` does."""
        ...


class Direct:
    """Connections to one server, as many as are in use at the same time.

    A connection goes back to the idle ones only with every reply read; after any other end it is
    closed, and the idle ones with it, for what broke one has broken them all.

    Args:
        pool: a redis-py pool, which makes the connections and finds the primary.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []
        self._pid = os.getpid()

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        connection = self._take()
        try:
            connection.send_packed_command(connection.pack_commands(batch), check_health=False)
            replies = [_reply(connection) for _ in batch]
        except BaseException:
            connection.disconnect()
            self.close()
            raise
        self._idle.append(connection)
        return _checked(replies)

    def remove(self, pattern: str) -> None:
        """Remove every key that matches."""
        cursor = b"0"
        while True:
            ((cursor, keys),) = self.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
            if keys:
                self.send([("UNLINK", *keys)])
            if cursor == b"0":
                return

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().disconnect()

    def _take(self) -> Any:
        if self._pid != os.getpid():  # a connection must not be carried into a forked process
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._pool.make_connection()
        connection.connect()
        return connection


class AsyncDirect:
    """`Direct` for one event loop."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []

    async def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        connection = self._idle.pop() if self._idle else self._pool.make_connection()
        try:
            if not connection.is_connected:
                await connection.connect()
            await connection.send_packed_command(connection.pack_commands(batch), check_health=False)
            replies = [await _areply(connection) for _ in batch]
        except BaseException:
            await connection.disconnect(nowait=True)
            await self.close()
            raise
        self._idle.append(connection)
        return _checked(replies)

    async def remove(self, pattern: str) -> None:
        """Remove every key that matches."""
        cursor = b"0"
        while True:
            ((cursor, keys),) = await self.send([("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)])
            if keys:
                await self.send([("UNLINK", *keys)])
            if cursor == b"0":
                return

    async def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)


class Cluster:
    """A Cluster through redis-py's client; the keys of one batch are of one slot."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        if len(batch) == 1:
            return [self._client.execute_command(*batch[0])]
        with self._client.pipeline() as pipeline:
            for command in batch:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute()
        return replies

    def remove(self, pattern: str) -> None:
        """Remove every key that matches, on every primary."""
        for key in self._client.scan_iter(match=pattern, count=_SCAN_COUNT):
            self._client.unlink(key)

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._client.close()


class AsyncCluster:
    """`Cluster` for one event loop."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def send(self, batch: list[Command]) -> list[Any]:
        """Send commands together and return their replies."""
        if len(batch) == 1:
            return [await self._client.execute_command(*batch[0])]
        async with self._client.pipeline() as pipeline:
            for command in batch:
                pipeline.execute_command(*command)
            replies: list[Any] = await pipeline.execute()
        return replies

    async def remove(self, pattern: str) -> None:
        """Remove every key that matches, on every primary."""
        async for key in self._client.scan_iter(match=pattern, count=_SCAN_COUNT):
            await self._client.unlink(key)

    async def close(self) -> None:
        """Close the connections that are not in use."""
        await self._client.aclose()


def _reply(connection: Any) -> Any:
    # An error reply is kept until the replies after it have been read, too.
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


async def _areply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _checked(replies: list[Any]) -> list[Any]:
    for error in _errors(replies):
        raise error
    return replies


def _errors(replies: Iterable[Any]) -> list[ResponseError]:
    return [reply for reply in replies if isinstance(reply, ResponseError)]
