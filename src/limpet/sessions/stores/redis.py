"""Sessions in Redis or Valkey: alone, behind Sentinel, or as a Cluster.

    redis://[user:password@]host[:port][/db]      rediss:// with TLS; valkey:// and valkeys:// are the same
    redis+sentinel://[user:password@]host[:port],host[:port]/service[?db=0]
    redis+cluster://[user:password@]host[:port],host[:port]

`?wait=N` lets logins, logouts and revocations wait until N replicas have them. redis-py does the
talking, with hiredis; it is told not to try again by itself, because the guard does.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from limpet.errors import ConfigError
from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.operations import Operation, Purge, RevokeEveryone
from limpet.sessions.stores.redis_check import findings
from limpet.sessions.stores.redis_commands import (
    FACTS,
    PREFIX,
    Command,
    Script,
    check_replicas,
    is_durable,
    steps,
)

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from limpet.sessions.stores import Finding

A = TypeVar("A")
_SENTINEL_PORT, _REDIS_PORT = 26379, 6379


class RedisStore:
    """A Redis or Valkey server, a Sentinel group or a Cluster.

    Args:
        url: see the module.
        timeout_s: how long one command may take, and a connection to be made.

    Raises:
        ConfigError: a URL that makes no sense.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.125) -> None:
        self._url = urlsplit(url)
        options = dict(parse_qsl(self._url.query))
        self._wait = int(options.pop("wait", "0"))
        self._options = options
        self._kind = self._url.scheme.partition("+")[2]
        self._timeout_s = timeout_s
        if self._kind == "cluster" and self._wait:
            raise ConfigError(["sessions.store: wait= is not available with redis+cluster; leave it out"])
        if self._kind == "sentinel" and not self._url.path.strip("/"):
            raise ConfigError(["sessions.store: no service name; write redis+sentinel://HOST:PORT/SERVICE"])
        self._lock = threading.Lock()
        self._client: Any = None
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        try:
            return cast("A", self._run(operation))
        except RedisError as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop."""
        try:
            return cast("A", await self._arun(operation))
        except RedisError as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    def check(self) -> list[Finding]:
        """Look at version, role, clock, eviction, memory and persistence of every primary."""
        return findings(self._sync_client(), self._wait)

    def close(self) -> None:
        """Close the connections of blocking operations."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _run(self, operation: Operation[Any]) -> Any:
        client = self._sync_client()
        if isinstance(operation, Purge):
            return 0  # the server removes what has expired
        if isinstance(operation, RevokeEveryone):
            client.execute_command("HSET", FACTS, "everyone_s", operation.now_s)
            for key in client.scan_iter(match=f"{PREFIX}{{*", count=1000):
                client.unlink(key)
            return None
        flow = steps(operation)
        try:
            commands = next(flow)
            while True:
                replies = self._send(client, commands, is_durable=is_durable(operation))
                commands = flow.send(replies)
        except StopIteration as stop:
            return stop.value

    def _send(self, client: Any, commands: list[Command | Script], *, is_durable: bool) -> list[Any]:
        batch = self._batch(commands, is_durable=is_durable)
        try:
            replies = _execute(client, batch)
        except NoScriptError:
            replies = _execute(client, self._batch(commands, is_durable=is_durable, in_full=True))
        return self._confirmed(replies, is_durable=is_durable)

    async def _arun(self, operation: Operation[Any]) -> Any:
        client = self._async_client()
        if isinstance(operation, Purge):
            return 0
        if isinstance(operation, RevokeEveryone):
            await client.execute_command("HSET", FACTS, "everyone_s", operation.now_s)
            async for key in client.scan_iter(match=f"{PREFIX}{{*", count=1000):
                await client.unlink(key)
            return None
        flow = steps(operation)
        try:
            commands = next(flow)
            while True:
                replies = await self._asend(client, commands, is_durable=is_durable(operation))
                commands = flow.send(replies)
        except StopIteration as stop:
            return stop.value

    async def _asend(self, client: Any, commands: list[Command | Script], *, is_durable: bool) -> list[Any]:
        batch = self._batch(commands, is_durable=is_durable)
        try:
            replies = await _aexecute(client, batch)
        except NoScriptError:
            replies = await _aexecute(client, self._batch(commands, is_durable=is_durable, in_full=True))
        return self._confirmed(replies, is_durable=is_durable)

    def _batch(
        self, commands: list[Command | Script], *, is_durable: bool, in_full: bool = False
    ) -> list[Command]:
        batch = [
            (each.in_full() if in_full else each.by_hash()) if isinstance(each, Script) else each
            for each in commands
        ]
        if is_durable and self._wait:
            batch.append(("WAIT", self._wait, int(self._timeout_s * 1000)))
        return batch

    def _confirmed(self, replies: list[Any], *, is_durable: bool) -> list[Any]:
        if is_durable and self._wait:
            check_replicas(replies.pop(), self._wait)
        return replies

    # Clients: made when first used, one for all threads, and one for each event loop.

    def _sync_client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect(redis, Retry(NoBackoff(), 0))
            return self._client

    def _async_client(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            client = self._async_clients[loop] = self._connect(redis.asyncio, AsyncRetry(NoBackoff(), 0))
        return client

    def _connect(self, library: Any, retry: Any) -> Any:
        url = self._url
        options: dict[str, Any] = {
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "retry": retry,
        }
        if not self._kind:
            return library.Redis.from_url(_plain_url(url, self._options), **options)
        if url.scheme.startswith("rediss"):
            options["ssl"] = True
        if url.password:
            options |= {"username": unquote(url.username or "") or None, "password": unquote(url.password)}
        if self._kind == "cluster":
            # Looking for the slots again after a failover is part of one attempt.
            options["retry"] = type(retry)(NoBackoff(), 1)
            cluster = library.cluster
            nodes = [cluster.ClusterNode(host, port) for host, port in _hosts(url, _REDIS_PORT)]
            return library.RedisCluster(startup_nodes=nodes, **options)
        sentinel = library.sentinel.Sentinel(
            _hosts(url, _SENTINEL_PORT),
            sentinel_kwargs={key: value for key, value in options.items() if key.startswith("socket_")},
            **options,
        )
        return sentinel.master_for(url.path.strip("/"), db=int(self._options.get("db", "0")))


def _execute(client: Any, batch: list[Command]) -> list[Any]:
    if len(batch) == 1:
        return [client.execute_command(*batch[0])]
    with client.pipeline(transaction=False) as pipeline:
        for command in batch:
            pipeline.execute_command(*command)
        return cast("list[Any]", pipeline.execute())


async def _aexecute(client: Any, batch: list[Command]) -> list[Any]:
    if len(batch) == 1:
        return [await client.execute_command(*batch[0])]
    async with client.pipeline(transaction=False) as pipeline:
        for command in batch:
            pipeline.execute_command(*command)
        return cast("list[Any]", await pipeline.execute())


def _plain_url(url: SplitResult, options: dict[str, str]) -> str:
    scheme = {"valkey": "redis", "valkeys": "rediss"}.get(url.scheme, url.scheme)
    return urlunsplit((scheme, url.netloc, url.path, urlencode(options), ""))


def _hosts(url: SplitResult, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for part in url.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{part}")
        if not one.hostname:
            raise ConfigError([f"sessions.store: {part!r} is no host; write HOST:PORT,HOST:PORT"])
        hosts.append((one.hostname, one.port or default_port))
    return hosts
