"""The data plane of one process: its listeners, its pools, its connections.

Theory of operation. `control` makes one `Proxy`, gives it a new snapshot whenever
something changes, and opens and closes listeners; everything else happens in the connections'
callbacks. Four times a second a sweep closes or ends what has passed its deadline: one timer
for all connections, because a timer per request costs as much as routing it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import time
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, Protocol

from limpet.proxy.acceptor import Acceptor
from limpet.proxy.client_protocol import ClientConnection
from limpet.proxy.counters import Counters
from limpet.proxy.http1.request import RequestReader
from limpet.proxy.http2.prior_knowledge import FirstBytes
from limpet.proxy.per_client import PerClient
from limpet.proxy.pool import TargetPool
from limpet.proxy.recent import RecentExchanges
from limpet.proxy.tls.accepted import PROTOCOLS, AcceptedTls, Handshakes
from limpet.proxy.tls.contexts import ServerContexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from limpet.core.address import Address
    from limpet.core.model import ClientLimits, Listener, Snapshot, TargetGroup
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState
    from limpet.core.trace_context import Trace
    from limpet.errors import ErrorKind
    from limpet.proxy.access_log import AccessLog
    from limpet.proxy.board import Place
    from limpet.proxy.exchange import Exchange

_SWEEP_S = 0.25
#: How long draining waits for the first request of a connection that was accepted just before.
_FRESH_S = 1.0
_BACKLOG = 4096
#: Exchanges that are logged and remembered at the latest when they are so many: few enough that
#: nobody waits long for it, and enough to make it cheap.
_MAX_FINISHED = 32


class Client(Protocol):
    """A client's connection, whatever it speaks.

    Attributes:
        deadline_s: monotonic; when `on_deadline` is to be called.
        exchange: that goes on; None if there is none, or several.
    """

    limits: ClientLimits
    deadline_s: float
    transport: asyncio.Transport

    @property
    def is_fresh(self) -> bool:
        """Whether no request has come yet; the first one may be on its way."""
        ...

    @property
    def exchange(self) -> Exchange | None:
        """The exchange that goes on."""
        ...

    @property
    def is_sending(self) -> bool:
        """Whether the client has not taken all of what was answered."""
        ...

    def on_deadline(self) -> None:
        """Act on a deadline that has passed."""
        ...

    def close_idle(self) -> None:
        """Close the connection unless a request goes on."""
        ...

    def reset(self) -> None:
        """Close so that the client sees an error."""
        ...


class Tracer(Protocol):
    """Records requests as parts of traces."""

    def begin(self, request: RequestHead) -> Trace:
        """Return the trace that a request belongs to."""
        ...

    def end(self, exchanges: Iterable[Exchange]) -> None:
        """Record finished exchanges."""
        ...


class Server(Protocol):
    """Something that accepts connections until it is closed."""

    def close(self) -> None:
        """Accept no more."""
        ...


class Proxy:
    """Serves clients on its listeners and forwards their requests to targets.

    Made and used inside a running event loop.

    Args:
        snapshot: the first configuration.
        access_log: gets every finished request; None for no log.
        on_target_error: told of every attempt that a target failed, with the number of failures
            in a row in `TargetState.failures`.
        place: of this worker among several; None if it is the only one.

    Attributes:
        snapshot: what decisions depend on; `use` changes it.
        clients: open client connections.
        streams: of those that speak HTTP/2.
        shaking: connections to TLS listeners whose handshake is not over.
        handshakes: what became of the others' handshakes.
        recent: the last decisions, by request id.
        counters: what became of requests.
        tracer: names and records the spans of requests; None for none.
        is_draining: no new connection is wanted; answers close theirs.
        requests: finished requests.
        rejected_connections: closed because there were too many.
        per_client: what single clients use.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        access_log: AccessLog | None,
        on_target_error: Callable[[TargetGroup, TargetState, ErrorKind], None],
        place: Place | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.place = place
        self.access_log = access_log
        self.on_target_error = on_target_error
        self.loop = asyncio.get_running_loop()
        self.rng = Random(secrets.randbits(64))  # noqa: S311  # balancing needs no secrecy
        self.clients: set[Client] = set()
        self.streams: set[ClientConnection] = set()
        self.shaking: set[AcceptedTls] = set()
        self.handshakes = Handshakes()
        self.recent = RecentExchanges()
        self.counters = Counters()
        self.tracer: Tracer | None = None
        self._finished: list[Exchange] = []
        self.is_draining = False
        self.requests = 0
        self.rejected_connections = 0
        self.pools: dict[TargetState, TargetPool] = {}
        self.reader = RequestReader(snapshot.client_limits)
        self.per_client = PerClient(snapshot, place)
        self._listeners: dict[Address, _Serving] = {}
        self._id_prefix = secrets.token_hex(6).encode()
        self._id_count = 0
        self._date = (0, b"")
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)

    def use(self, snapshot: Snapshot) -> None:
        """Make a snapshot the current one; the next request is the first that sees it."""
        if snapshot.client_limits != self.snapshot.client_limits:
            self.reader = RequestReader(snapshot.client_limits)
        self.per_client.use(snapshot)
        for name, group in self.snapshot.groups.items():
            kept = snapshot.groups.get(name)
            if kept is not None and kept.tls != group.tls:
                self._close_idle(group)
        self.snapshot = snapshot

    # listeners

    async def open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Start serving on a listener.

        Args:
            bound: where it is reached; names it for `relisten` and `close`.
            sockets: they listen already; they stay open, and the caller's, after `close`.
        """
        serving = _Serving(self, listener)
        for each in sockets:
            serving.servers.append(await self._serve(serving, each.dup()))
        self._listeners[bound] = serving

    async def _serve(self, serving: _Serving, listening: socket.socket) -> Server:
        connection = serving.connection
        if self.place is not None:
            return Acceptor(self.loop, listening, connection, self.place)
        if listening.family == socket.AF_UNIX:
            return await self.loop.create_unix_server(connection, sock=listening, backlog=_BACKLOG)
        return await self.loop.create_server(connection, sock=listening, backlog=_BACKLOG)

    def relisten(self, bound: Address, listener: Listener) -> None:
        """Serve another listener on a bound address; open connections keep the old one."""
        self._listeners[bound].use(listener)

    def close(self, bound: Address) -> None:
        """Stop serving on a bound address; open connections go on."""
        for server in self._listeners.pop(bound).servers:
            server.close()

    async def drain(self, timeout_s: float, cutting: asyncio.Event | None = None) -> int:
        """Stop serving: requests in flight are answered, and each answer closes its connection.

        Args:
            cutting: once set, they are not waited for any longer.

        Returns:
            How many requests were cut because they took longer than `timeout_s`.
        """
        self.is_draining = True
        for bound in list(self._listeners):
            self.close(bound)
        for client in list(self.clients):
            client.close_idle()
        await self._let_finish(timeout_s, cutting)
        cut = self._going_on()
        for client in [*self.streams, *self.clients]:
            client.transport.close() if client.exchange is None else client.reset()
        for each in list(self.shaking):
            each.abort()
        self._sweeper.cancel()
        for pool in self.pools.values():
            pool.close_idle()
        await asyncio.sleep(0)  # lets the loop close what was aborted
        self.settle()
        return len(cut)

    async def _let_finish(self, timeout_s: float, cutting: asyncio.Event | None) -> None:
        deadline_s = time.monotonic() + timeout_s
        fresh_until_s = min(time.monotonic() + _FRESH_S, deadline_s)
        while time.monotonic() < deadline_s and not (cutting and cutting.is_set()):
            if not self.clients and not self.shaking:
                break
            await asyncio.sleep(0.02)
            fresh = [client for client in self.clients if client.is_fresh]
            if time.monotonic() >= fresh_until_s:
                for client in fresh:
                    client.transport.close()
            elif fresh or self.shaking:
                continue
            if not self._going_on() and not any(client.is_sending for client in self.clients):
                break

    # targets

    def pool(self, target: TargetState) -> TargetPool:
        """Return the connections of a target."""
        pool = self.pools.get(target)
        if pool is None:
            pool = self.pools[target] = TargetPool(target, self.loop)
        return pool

    def forget(self, target: TargetState) -> int:
        """End what is left of a target that is not registered any more.

        Returns:
            How many requests were still in flight; they end with a 502.
        """
        pool = self.pools.get(target)
        if pool is None:
            return 0
        pool.wake()  # those that wait go elsewhere
        left = [e for e in self._going_on() if e.decision is not None and e.decision.target is target]
        for exchange in left:
            exchange.abort()
        pool.close_idle()
        del self.pools[target]
        return len(left)

    def _going_on(self) -> list[Exchange]:
        return [c.exchange for c in (*self.clients, *self.streams) if c.exchange is not None]

    def _close_idle(self, group: TargetGroup) -> None:
        # Made under other settings of TLS, which may have trusted too much.
        for target in group.by_id.values():
            if target in self.pools:
                self.pools[target].close_idle()

    # called by connections and exchanges

    def enter(self, client: Client, client_ip: str) -> bool:
        """Note a client's connection; False if there are too many, here and in other workers.

        Args:
            client_ip: "" if it is not known, or not known yet.
        """
        self.clients.add(client)
        return self._has_room(client, client.limits, client_ip)

    def is_welcome(self, client: object, client_ip: str) -> bool:
        """Return whether a client whose address became known now may have another connection."""
        self.per_client.leave(client)
        if self.per_client.enter(client, client_ip):
            return True
        self.rejected_connections += 1
        return False

    def leave(self, client: Client) -> None:
        """Note that a client's connection has ended."""
        self.clients.discard(client)
        self.per_client.leave(client)
        self._count_connections()

    def enter_shaking(self, client: AcceptedTls, client_ip: str) -> bool:
        """Note a connection that begins with a handshake; False if there are too many."""
        self.shaking.add(client)
        return self._has_room(client, self.snapshot.client_limits, client_ip)

    def leave_shaking(self, client: AcceptedTls) -> None:
        """Note that such a connection has ended, or goes on as a client's."""
        self.shaking.discard(client)
        self.per_client.leave(client)
        self._count_connections()

    def _has_room(self, client: object, limits: ClientLimits, client_ip: str) -> bool:
        count = self._count_connections()
        if self.place is not None:
            count = self.place.connections()
        if 0 < limits.max_connections < count or not self.per_client.enter(client, client_ip):
            self.rejected_connections += 1
            return False
        return True

    def _count_connections(self) -> int:
        count = len(self.clients) + len(self.shaking)
        if self.place is not None:
            self.place.write_connections(count)
        return count

    def is_trusted(self, address: str) -> bool:
        """Return whether an IP address is one of the trusted proxies."""
        networks = self.snapshot.forwarding.trusted_proxies
        if not networks:
            return False
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in networks)

    def next_request_id(self) -> bytes:
        """Return an id that no other request has, in this process or another."""
        self._id_count += 1
        return b"%b-%x" % (self._id_prefix, self._id_count)

    def http_date(self) -> bytes:
        """Return the current date. Source: RFC 9110 section 5.6.7."""
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]

    def record(self, exchange: Exchange) -> None:
        """Note a finished exchange; `settle` logs and remembers it."""
        self.requests += 1
        self._finished.append(exchange)
        if len(self._finished) >= _MAX_FINISHED:
            self.settle()

    def settle(self) -> None:
        """Log and remember what has finished: many at a time cost much less than one by one."""
        finished = self._finished
        if finished:
            self._finished = []
            if self.access_log is not None:
                self.access_log.write(finished)
            self.counters.add(finished)
            if self.tracer is not None:
                self.tracer.end(finished)
            self.recent.add(finished)

    def explain(self, request_id: str) -> dict[str, object] | None:
        """Return a recent request's decision as JSON-able values; None if none has that id."""
        self.settle()
        return self.recent.find(request_id)

    def latest(self, count: int) -> list[dict[str, object]]:
        """Return recent decisions as JSON-able values; see `RecentExchanges.latest`."""
        self.settle()
        return self.recent.latest(count)

    def write_numbers(self) -> None:
        """Write on the board what other processes may want to know."""
        if self.place is not None:
            self.place.write(time.monotonic(), self.requests, self.rejected_connections)

    # time

    def _sweep(self) -> None:
        self._sweeper = self.loop.call_later(_SWEEP_S, self._sweep)  # first: whatever happens, it goes on
        now_s = time.monotonic()
        for client in [c for c in (*self.streams, *self.clients) if c.deadline_s < now_s]:
            client.on_deadline()
        for each in [each for each in self.shaking if each.deadline_s < now_s]:
            each.on_deadline()
        for group in self.snapshot.groups.values():
            group.relief.tick(group, now_s)
            oldest_s = now_s - group.limits.keep_alive_s
            for target in group.by_id.values():
                pool = self.pools.get(target)
                if pool is None:
                    continue
                if pool.idle:
                    pool.close_idle(oldest_s)
                if pool.waiting and not target.takes_sticky:
                    pool.wake()
        self.settle()
        self.write_numbers()


class _Serving:
    # What new connections of some servers belong to; a reload may change it.
    __slots__ = ("_proxy", "contexts", "listener", "servers")

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        self._proxy = proxy
        self.servers: list[Server] = []
        self.use(listener)

    def use(self, listener: Listener) -> None:
        self.listener = listener
        tls = listener.tls
        protocols = [name for name in PROTOCOLS if name != "h2" or listener.http2]
        self.contexts = ServerContexts(tls, protocols, time.monotonic()) if tls is not None else None

    def connection(self) -> asyncio.Protocol:
        if self.contexts is not None:
            return AcceptedTls(self._proxy, self.listener, self.contexts)
        if self.listener.http2_prior_knowledge:
            return FirstBytes(self._proxy, self.listener)
        return ClientConnection(self._proxy, self.listener)
