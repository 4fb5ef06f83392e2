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
from redis.exceptions import NoScriptError, RedisClusterException, RedisError
from redis.retry import Retry

from limpet.errors import ConfigError
from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.operations import Operation, Purge, RevokeEveryone
from limpet.sessions.stores.redis_check import does_not_answer, findings
from limpet.sessions.stores.redis_commands import EVERY_KEY, in_full, is_durable, revoked_everyone, steps
from limpet.sessions.stores.redis_links import AsyncCluster, AsyncDirect, Cluster, Direct

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from limpet.sessions.stores import Finding
    from limpet.sessions.stores.redis_links import AsyncLink, Command, Link

A = TypeVar("A")
#: What redis-py raises when a server or a Cluster does not answer as it should.
_FAILURES = (RedisError, RedisClusterException)
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
        self._link: Link | None = None
        self._async_links: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLink] = WeakKeyDictionary()

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        try:
            return cast("A", self._run(operation))
        except _FAILURES as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop."""
        try:
            return cast("A", await self._arun(operation))
        except _FAILURES as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    def check(self) -> list[Finding]:
        """Look at version, role, clock, eviction, memory and persistence of every primary."""
        try:
            with self._client(redis, Retry(NoBackoff(), 0)) as client:
                return findings(client, self._wait)
        except _FAILURES as error:
            return [does_not_answer(error)]

    def close(self) -> None:
        """Close the connections of blocking operations that are not in use."""
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            link.close()

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        link = self._async_links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()

    def _run(self, operation: Operation[Any]) -> Any:
        link = self._link or self._connect()
        if isinstance(operation, Purge):
            return 0  # the server removes what has expired
        if isinstance(operation, RevokeEveryone):
            link.send([revoked_everyone(operation)])
            return link.remove(EVERY_KEY)
        flow = steps(operation)
        try:
            commands = next(flow)
            while True:
                batch = self._batch(operation, commands)
                try:
                    replies = link.send(batch)
                except NoScriptError:
                    replies = link.send(in_full(batch))
                commands = flow.send(self._confirmed(operation, replies))
        except StopIteration as stop:
            return stop.value

    async def _arun(self, operation: Operation[Any]) -> Any:
        link = self._async_links.get(asyncio.get_running_loop()) or self._aconnect()
        if isinstance(operation, Purge):
            return 0
        if isinstance(operation, RevokeEveryone):
            await link.send([revoked_everyone(operation)])
            return await link.remove(EVERY_KEY)
        flow = steps(operation)
        try:
            commands = next(flow)
            while True:
                batch = self._batch(operation, commands)
                try:
                    replies = await link.send(batch)
                except NoScriptError:
                    replies = await link.send(in_full(batch))
                commands = flow.send(self._confirmed(operation, replies))
        except StopIteration as stop:
            return stop.value

    def _batch(self, operation: Operation[Any], commands: list[Command]) -> list[Command]:
        if self._wait and is_durable(operation):
            return [*commands, ("WAIT", self._wait, int(self._timeout_s * 1000))]
        return commands

    def _confirmed(self, operation: Operation[Any], replies: list[Any]) -> list[Any]:
        if self._wait and is_durable(operation):
            confirmed = replies.pop()
            if confirmed < self._wait:
                raise StoreUnavailableError(f"only {confirmed} of {self._wait} replicas confirmed in time")
        return replies

    # Links are made when first used: one for all threads, and one for each event loop.

    def _connect(self) -> Link:
        with self._lock:
            if self._link is None:
                client = self._client(redis, Retry(NoBackoff(), 0))
                is_cluster = self._kind == "cluster"
                self._link = Cluster(client) if is_cluster else Direct(client.connection_pool)
            return self._link

    def _aconnect(self) -> AsyncLink:
        client = self._client(redis.asyncio, AsyncRetry(NoBackoff(), 0))
        is_cluster = self._kind == "cluster"
        link: AsyncLink = AsyncCluster(client) if is_cluster else AsyncDirect(client.connection_pool)
        self._async_links[asyncio.get_running_loop()] = link
        return link

    def _client(self, library: Any, retry: Any) -> Any:
        url = self._url
        options: dict[str, Any] = {
            "socket_timeout": self._timeout_s,
            "socket_connect_timeout": self._timeout_s,
            "retry": retry,
            "protocol": 2,
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
