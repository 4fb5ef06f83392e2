"""Sessions in Memcached. `memcached://host[:port],host[:port]`.

What stands at a key is one blob, changed by compare-and-swap (`gets`, `cas`). A session, its
user's epoch and the list of the user's sessions are on the same server, chosen by rendezvous
hashing, so they are read in one round trip. No other server stands in for one that does not
answer: it would know nothing, and so log users out.

Memcached drops what it has no room for and forgets everything when it stops; a start-up check
says so. Calls from an event loop run in threads.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from pymemcache import MemcacheError, MemcacheServerError, PooledClient

from limpet.errors import ConfigError
from limpet.sessions.codec import pack, unpack
from limpet.sessions.errors import NotSupportedByStoreError, SessionTooLargeError, StoreUnavailableError
from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    Facts,
    ListUser,
    Load,
    Operation,
    Purge,
    ReadFacts,
    RevokeEveryone,
    RevokeUser,
    Stored,
)
from limpet.sessions.policy import STORE_SLACK_S
from limpet.sessions.record import Key, Record, pack_stored, unpack_stored
from limpet.sessions.stores import Finding, in_time, processes
from limpet.sessions.stores.clock import StoreClock
from limpet.sessions.stores.in_time import Within, places
from limpet.sessions.stores.transition import transition

if TYPE_CHECKING:
    from collections.abc import Callable

A = TypeVar("A")
_PORT = 11211
#: Tries of a write that others keep overtaking; each failure means that another one succeeded.
_MAX_TRIES = 100
_FACTS = "limpet:facts"
#: Of one process to one server; more threads than that are an error of the app server's settings.
_MAX_CONNECTIONS = 256
_IDLE_S = 60


class _InTime:
    # What pymemcache uses of the module `socket`, keeping to the deadline.

    AF_UNSPEC, SOCK_STREAM = socket.AF_UNSPEC, socket.SOCK_STREAM
    IPPROTO_TCP, TCP_NODELAY = socket.IPPROTO_TCP, socket.TCP_NODELAY

    @staticmethod
    def getaddrinfo(host: str, port: int, *_: Any) -> in_time.Addresses:
        return in_time.look_up(host, port)

    @staticmethod
    def socket(*arguments: Any) -> in_time.TimedSocket:
        return in_time.TimedSocket(socket.socket(*arguments))


class MemcachedStore:
    """One or several Memcached servers.

    Args:
        url: `memcached://host[:port],host[:port]`; every app server must name them in the same way.
        timeout_s: how long one command may take, and a connection to be made.

    Raises:
        ConfigError: a URL without a host.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.125) -> None:
        self._addresses = _addresses(url)
        self._timeout_s = timeout_s
        self._clock = StoreClock()
        self._servers = self._connect()
        processes.watch(self)

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        try:
            with Within(math.inf if operation.is_bulk else self._timeout_s):
                return cast("A", self._perform(operation))
        except (OSError, MemcacheError) as error:
            if isinstance(error, MemcacheServerError) and b"too large" in _detail(error):
                raise SessionTooLargeError(
                    "the session is larger than Memcached takes (1 MB, or its option -I); store less in it"
                ) from error
            server = self.part(operation)
            if server is not None:
                self._servers[server].close()  # what broke one connection has broken the idle ones, too
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation in a thread."""
        return await asyncio.to_thread(self.run, operation)

    def now_s(self) -> float:
        """Return the wall clock of the servers, as one of them told it last."""
        return self._clock.now_s()

    @property
    def identity(self) -> str:
        """The servers: in another order they are the same, with another one they are not."""
        return f"memcached {places(self._addresses)}"

    def part(self, operation: Operation[Any]) -> tuple[str, int] | None:
        """Return the server that is concerned."""
        match operation:
            case Load(key) | ReadFacts(_, key):
                return self._address(key.user or key.session)
            case Create() | Commit() | End():
                return self._address(operation.key.user or operation.key.session)
            case RevokeUser(user) | ListUser(user):
                return self._address(user)
        return None

    def check(self) -> list[Finding]:
        """Say what Memcached cannot promise, and look for signs that it has happened."""
        what = (
            "Memcached drops sessions when it is full and forgets them when it stops, and a change of the "
            "list of servers and back can bring a revoked session back"
        )
        found = [Finding("S402", "warning", what, "use redis:// or sqlite:/// where a logout must be final")]
        for (host, port), client in self._servers.items():
            try:
                stats = client.stats()
            except (OSError, MemcacheError) as error:
                what = f"the session store {host}:{port} does not answer: {error}"
                found.append(Finding("S401", "error", what, "start it, or correct LIMPET_SESSION_STORE"))
            else:
                found += _evictions(f"{host}:{port}", int(stats.get(b"evictions", 0)))
        return found

    def close(self) -> None:
        """Close the connections that are not in use."""
        for client in self._servers.values():
            client.close()

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await asyncio.to_thread(self.close)

    def before_fork(self) -> None:
        """Nothing: the child forgets what it inherits."""

    def after_fork(self, *, is_child: bool) -> None:
        """Let the child make connections of its own."""
        if is_child:
            inherited, self._servers = self._servers, self._connect()
            for client in inherited.values():  # without its lock, which another thread may have held
                for each in (*client.client_pool.free, *client.client_pool.used):
                    each.close()

    def _connect(self) -> dict[tuple[str, int], PooledClient]:
        return {
            address: PooledClient(
                address,
                connect_timeout=self._timeout_s,
                timeout=self._timeout_s,
                no_delay=True,
                default_noreply=False,
                socket_module=_InTime,
                max_pool_size=_MAX_CONNECTIONS,
                pool_idle_timeout=_IDLE_S,
            )
            for address in self._addresses
        }

    def _perform(self, operation: Operation[Any]) -> Any:
        match operation:
            case Load(key):
                return self._read(key)[0]
            case Create():
                return self._create(operation)
            case Commit() | End():
                return self._change(operation)
            case RevokeUser(user, epoch):
                self._revoke(user, epoch)
            case ListUser(user):
                return self._list(user)
            case ReadFacts(now_s, key):
                client = self._server(key.user or key.session)
                client.add(_FACTS, pack(now_s))
                return Facts(float(unpack(client.get(_FACTS))), 0.0)
            case RevokeEveryone():
                raise NotSupportedByStoreError(
                    "Memcached cannot revoke everyone: replace every secret in LIMPET_SECRET instead"
                )
            case Purge():
                return 0  # the server removes what has expired
        return None

    def _server(self, tag: str) -> PooledClient:
        client = self._servers[self._address(tag)]
        if self._clock.is_due:
            since_s = time.monotonic()
            # Whole seconds, rounded down.
            self._clock.tell(int(client.stats()[b"time"]) + 0.5, since_s)
        return client

    def _address(self, tag: str) -> tuple[str, int]:
        # Rendezvous hashing: a server that is added or removed moves only its own share.
        return max(self._addresses, key=lambda address: _score(address, tag))

    def _read(self, key: Key) -> tuple[Stored, bytes | None]:
        names = [_record_key(key.session)] + ([_epoch_key(key.user)] if key.user else [])
        found = self._server(key.user or key.session).gets_many(names)
        data, cas = found.get(names[0], (None, None))
        epoch, _ = _epoch(found.get(names[1], (None, None))[0]) if key.user else (b"", 0.0)
        return Stored(unpack_stored(data) if data is not None else None, epoch), cas

    def _create(self, operation: Create) -> Stored:
        key, client = operation.key, self._server(operation.key.user or operation.key.session)
        ends_s = operation.record.meta.ends_s + STORE_SLACK_S
        epoch = self._keep_epoch(client, key.user, operation.seed, ends_s) if key.user else b""
        record = replace(operation.record, epoch=epoch)
        if not client.add(_record_key(key.session), pack_stored(record), _exptime(operation.until_s)):
            return self._read(key)[0]
        if key.user:
            self._enlist(client, key, ends_s)
        return Stored(record, epoch)

    def _change(self, operation: Commit | End) -> Any:
        key, client = operation.key, self._server(operation.key.user or operation.key.session)
        if isinstance(operation, Commit) and operation.edit.meta is not None and key.user:
            self._extend_epoch(client, key.user, operation.edit.meta.ends_s + STORE_SLACK_S)
        for _ in range(_MAX_TRIES):
            before, cas = self._read(key)
            answer, what = transition(operation, before)
            if what is None:
                return answer
            data = pack_stored(what)
            if client.cas(_record_key(key.session), data, cas, _exptime(operation.until_s)):
                return answer
        raise StoreUnavailableError("others kept writing to the same session")

    # A user's epoch, with the time until which it must be kept.

    def _keep_epoch(self, client: PooledClient, user: str, seed: bytes, until_s: float) -> bytes:
        client.add(_epoch_key(user), pack([seed, until_s]), _exptime(until_s))
        return self._extend_epoch(client, user, until_s)

    def _extend_epoch(self, client: PooledClient, user: str, until_s: float) -> bytes:
        def longer(epoch: bytes, kept_until_s: float) -> tuple[bytes, float] | None:
            return (epoch, until_s) if kept_until_s < until_s else None

        return self._change_epoch(client, user, longer)

    def _revoke(self, user: str, epoch: bytes) -> None:
        self._change_epoch(self._server(user), user, lambda _, until_s: (epoch, until_s))

    def _change_epoch(
        self,
        client: PooledClient,
        user: str,
        change: Callable[[bytes, float], tuple[bytes, float] | None],
    ) -> bytes:
        for _ in range(_MAX_TRIES):
            data, cas = client.gets(_epoch_key(user))
            epoch, until_s = _epoch(data)
            wanted = change(epoch, until_s) if epoch is not None else None
            if wanted is None:
                return epoch or b""
            if client.cas(_epoch_key(user), pack(list(wanted)), cas, _exptime(wanted[1])):
                return wanted[0]
        raise StoreUnavailableError("others kept writing to the same user")

    # The list of a user's sessions: for devices only; nothing depends on it.

    def _enlist(self, client: PooledClient, key: Key, ends_s: float) -> None:
        name, now_s = _index_key(key.user), time.time()
        for _ in range(_MAX_TRIES):
            data, cas = client.gets(name)
            listed = {each: end_s for each, end_s in _listed(data).items() if end_s > now_s}
            listed[key.session] = ends_s
            until = _exptime(max(listed.values()))
            if data is None and client.add(name, pack(listed), until):
                return
            if data is not None and client.cas(name, pack(listed), cas, until):
                return

    def _list(self, user: str) -> list[tuple[Key, Record]]:
        client = self._server(user)
        keys = [Key(session, user) for session in _listed(client.get(_index_key(user)))]
        found = client.get_many([_epoch_key(user), *(_record_key(key.session) for key in keys)])
        epoch, _ = _epoch(found.get(_epoch_key(user)))
        stored = [
            (key, Stored(unpack_stored(found[_record_key(key.session)]), epoch).alive)
            for key in keys
            if _record_key(key.session) in found
        ]
        return [(key, record) for key, record in stored if record is not None]


def _addresses(url: str) -> list[tuple[str, int]]:
    addresses = []
    for part in urlsplit(url).netloc.split(","):
        one = urlsplit(f"//{part}")
        if not one.hostname:
            raise ConfigError([f"sessions.store: {part!r} is no host; write memcached://HOST:PORT,HOST:PORT"])
        addresses.append((one.hostname, one.port or _PORT))
    return addresses


def _score(address: tuple[str, int], tag: str) -> bytes:
    return blake2b(f"{address[0]}:{address[1]} {tag}".encode(), digest_size=8).digest()


def _record_key(session: str) -> str:
    return f"limpet:s:{session}"


def _epoch_key(user: str) -> str:
    return f"limpet:e:{user}"


def _index_key(user: str) -> str:
    return f"limpet:i:{user}"


def _epoch(data: bytes | None) -> tuple[bytes | None, float]:
    if data is None:
        return None, 0.0
    epoch, until_s = unpack(data)
    return epoch, until_s


def _listed(data: bytes | None) -> dict[str, float]:
    return dict(unpack(data)) if data is not None else {}


def _exptime(until_s: float) -> int:
    # Above 30 days it is a date. Source: memcached, doc/protocol.txt, "Expiration times".
    return math.ceil(until_s)


def _detail(error: Exception) -> bytes:
    detail = error.args[0] if error.args else b""
    return detail if isinstance(detail, bytes) else str(detail).encode()


def _evictions(server: str, evictions: int) -> list[Finding]:
    if not evictions:
        return []
    what = f"{server} has dropped {evictions} entries for lack of room: sessions may be among them"
    return [Finding("S403", "error", what, "give it more memory (-m), and caches a server of their own")]
