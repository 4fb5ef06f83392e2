"""Sessions in Redis or Valkey: alone, behind Sentinel, or as a Cluster.

    redis://[user:password@]host[:port][/db]      rediss:// with TLS; valkey:// and valkeys:// are the same
    redis+sentinel://[user:password@]host[:port],host[:port]/service[?db=0]
    redis+cluster://[user:password@]host[:port],host[:port]

`?wait=N` lets logins, logouts and revocations wait until N replicas have them. With TLS the server's
certificate is checked, against `?ssl_ca_certs=FILE` if that is given; `ssl_certfile` and `ssl_keyfile` are
ours. redis-py opens the connections, over which hiredis speaks. It is told not to try again by itself,
because the guard does.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from weakref import WeakKeyDictionary

from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from limpet.sessions.errors import NotReplicatedError, StoreUnavailableError, UndecodableError
from limpet.sessions.operations import Operation, Purge, RevokeEveryone
from limpet.sessions.stores import processes, redis_connections
from limpet.sessions.stores.clock import StoreClock
from limpet.sessions.stores.in_time import Within, places
from limpet.sessions.stores.redis_check import does_not_answer, findings, in_short
from limpet.sessions.stores.redis_cluster import AsyncCluster, Cluster, slot_of
from limpet.sessions.stores.redis_commands import (
    EVERY_KEY,
    ask_time,
    in_full,
    is_durable,
    place,
    read_time,
    revoked_everyone,
    steps,
)
from limpet.sessions.stores.redis_links import AsyncDirect, Direct
from limpet.sessions.stores.redis_tracking import Tracking

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Hashable

    from limpet.sessions.stores import Finding, Listener
    from limpet.sessions.stores.redis_links import AsyncLink, Command, Link

A = TypeVar("A")
#: What goes wrong when a server or a Cluster does not answer as it should.
_FAILURES = (RedisError, RedisClusterException, OSError)
#: WAIT must end before the attempt does, so that its answer is heard.
_WAIT_SHARE = 0.7
#: Connections of event loops of the parent process: to close them would disturb the parent's loops.
_inherited: list[Any] = []


class RedisStore:
    """A Redis or Valkey server, a Sentinel group or a Cluster.

    Args:
        url: see the module.
        timeout_s: how long one attempt of an operation may take.

    Raises:
        ConfigError: a URL that makes no sense.
    """

    #: Copies of what it holds can be older than it is, by `MAX_STALE_S` at most.
    has_leases = True

    def __init__(self, url: str, *, timeout_s: float = 0.125) -> None:
        self._target = redis_connections.read_url(url)
        self._timeout_s = timeout_s
        self._clock = StoreClock()
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._sentinel: Any = None
        self._async_links: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopLink] = WeakKeyDictionary()
        self._tracking = Tracking(self._target, timeout_s)
        processes.watch(self)

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        try:
            if operation.is_bulk:
                return cast("A", self._run(operation))
            with Within(self._timeout_s):
                return cast("A", self._run(operation))
        except _FAILURES as error:
            raise self._failed(error) from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop."""
        try:
            return cast("A", await self._arun(operation))
        except _FAILURES as error:
            raise self._failed(error) from error

    def now_s(self) -> float:
        """Return the server's wall clock."""
        return self._clock.now_s()

    @property
    def identity(self) -> str:
        """Servers, service and database."""
        target = self._target
        return f"redis {target.kind} {target.service} {target.options['db']} {places(target.addresses)}"

    def part(self, operation: Operation[Any]) -> Hashable:
        """Return which server of a Cluster is concerned, as far as is known."""
        if self._target.kind != "cluster":
            return None
        link: Any = self._link
        if link is None and (loop := _running_loop()) in self._async_links and loop is not None:
            link = self._async_links[loop].link
        where = place(operation)
        return link.slots.address(slot_of([("GET", where)])) if link is not None and where else None

    def watch(self, listener: Listener) -> Tracking:
        """Return what vouches for copies; the listener is told of changes until it is gone."""
        self._tracking.listeners.add(listener)
        return self._tracking

    def check(self) -> list[Finding]:
        """Look at version, role, clock, eviction, memory and persistence of every primary."""
        try:
            with redis_connections.client(self._target, self._timeout_s) as client:
                return findings(client, self._target.wait)
        except _FAILURES as error:
            return [does_not_answer(error)]

    def close(self) -> None:
        """Close the connections of blocking operations that are not in use."""
        with self._lock:
            link, self._link = self._link, None
            sentinel, self._sentinel = self._sentinel, None
        for each in (link, sentinel):
            if each is not None:
                each.close()
        self._tracking.close()

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        link = self._async_links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.until_end.aclose()

    def before_fork(self) -> None:
        """Make sure that no thread is about to make a link."""
        self._lock.acquire()
        self._tracking.before_fork()

    def after_fork(self, *, is_child: bool) -> None:
        """Let the child make links of its own."""
        self._tracking.after_fork(is_child=is_child)
        self._lock.release()
        if is_child:
            _inherited.extend(self._async_links.values())
            self._async_links = WeakKeyDictionary()
            self._link = self._sentinel = None

    def _failed(self, error: Exception) -> StoreUnavailableError:
        unknown = _as_unknown(error)
        if not isinstance(unknown, UndecodableError):
            self._tracking.doubt()
        return unknown

    def _run(self, operation: Operation[Any]) -> Any:
        link = self._link or self._connect()
        if isinstance(operation, Purge):
            return 0  # the server removes what has expired
        if isinstance(operation, RevokeEveryone):
            link.send([revoked_everyone(operation)])
            return link.remove(EVERY_KEY)
        flow = self._batches(operation)
        try:
            batch = next(flow)
            while True:
                try:
                    replies = link.send(batch)
                except NoScriptError:
                    replies = link.send(in_full(batch))
                batch = flow.send(replies)
        except StopIteration as stop:
            return stop.value

    async def _arun(self, operation: Operation[Any]) -> Any:
        held = self._async_links.get(asyncio.get_running_loop()) or await self._aconnect()
        link = held.link
        if isinstance(operation, Purge):
            return 0
        if isinstance(operation, RevokeEveryone):
            await link.send([revoked_everyone(operation)])
            return await link.remove(EVERY_KEY)
        flow = self._batches(operation)
        try:
            batch = next(flow)
            while True:
                try:
                    replies = await link.send(batch)
                except NoScriptError:
                    replies = await link.send(in_full(batch))
                batch = flow.send(replies)
        except StopIteration as stop:
            return stop.value

    def _batches(self, operation: Operation[Any]) -> Generator[list[Command], list[Any], Any]:
        # The operation's own commands, and what rides along with them.
        flow = steps(operation)
        wait = self._target.wait if is_durable(operation) else 0
        if not wait and not self._clock.is_due:
            return (yield from flow)
        try:
            commands = next(flow)
            while True:
                asks = self._clock.is_due
                extra = [ask_time(commands)] if asks else []
                extra += [("WAIT", wait, int(self._timeout_s * _WAIT_SHARE * 1000))] if wait else []
                since_s = time.monotonic()
                replies = yield [*commands, *extra]
                if wait and replies[-1] < wait:
                    raise NotReplicatedError(f"only {replies[-1]} of {wait} replicas confirmed in time")
                if asks:
                    self._clock.tell(read_time(replies[len(commands)]), since_s)
                commands = flow.send(replies[: len(commands)])
        except StopIteration as stop:
            return stop.value

    # Links are made when first used: one for all threads, and one for each event loop.

    def _connect(self) -> Link:
        with self._lock:
            if self._link is None:
                maker = redis_connections.maker(self._target, self._timeout_s)
                self._sentinel = maker.sentinel
                is_cluster = self._target.kind == "cluster"
                self._link = (
                    Cluster(maker.make, self._target.addresses, self._tracking.doubt)
                    if is_cluster
                    else Direct(maker.make)
                )
            return self._link

    async def _aconnect(self) -> _LoopLink:
        maker = redis_connections.async_maker(self._target, self._timeout_s)
        is_cluster = self._target.kind == "cluster"
        link: AsyncLink = (
            AsyncCluster(maker.make, self._target.addresses, self._timeout_s, self._tracking.doubt)
            if is_cluster
            else AsyncDirect(maker.make, self._timeout_s)
        )
        held = _LoopLink(link, _until_end(link, maker.sentinel, self._async_links))
        self._async_links[asyncio.get_running_loop()] = held
        await anext(held.until_end)
        return held


class _LoopLink(NamedTuple):
    # The link of an event loop, which closes it: an asynchronous generator that has begun is ended by
    # whoever ends the loop (`shutdown_asyncgens`).
    link: AsyncLink
    until_end: AsyncGenerator[None]


async def _until_end(
    link: AsyncLink, sentinel: Any, links: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopLink]
) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        links.pop(asyncio.get_running_loop(), None)
        link.close()
        if sentinel is not None:
            for each in sentinel.sentinels:
                await each.aclose()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _as_unknown(error: Exception) -> StoreUnavailableError:
    detail = f"{type(error).__name__}: {in_short(error)}"
    # What stands there is not what we write; the server is all right, and would say so again.
    is_garbage = isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")
    return UndecodableError(detail) if is_garbage else StoreUnavailableError(detail)
