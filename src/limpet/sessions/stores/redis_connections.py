"""redis-py connections that keep to a deadline, and how a store's URL makes them.

redis-py opens them, logs in and closes them. What is said afterwards is packed and parsed by hiredis
directly (`exchange`): redis-py's way takes half as long again as the server.
"""

from __future__ import annotations

import ssl
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import hiredis
import redis.asyncio.connection
import redis.asyncio.sentinel
import redis.connection
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, ReadOnlyError, ResponseError
from redis.retry import Retry

from limpet.errors import ConfigError
from limpet.sessions.stores import in_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limpet.sessions.stores.redis_links import Command

Address = tuple[str, int]
_SENTINEL_PORT, _REDIS_PORT = 26379, 6379
#: Else redis-py looks up its own version for each connection (as long as all the rest takes) and
#: tells it to the server in two more round trips.
_QUIET: dict[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)
_READ_BYTES = 65536
_PATHS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class Target(NamedTuple):
    """What a URL says.

    Attributes:
        kind: "" for one server, "sentinel" or "cluster".
        service: with "sentinel".
        wait: how many replicas logins, logouts and revocations wait for.
        options: for every connection.
    """

    kind: str
    addresses: list[Address]
    service: str
    wait: int
    is_tls: bool
    options: Mapping[str, Any]


def read_url(url: str) -> Target:
    """Return what a store's URL says.

    Raises:
        ConfigError: it makes no sense.
    """
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    query = dict(parse_qsl(parts.query))
    path = parts.path.strip("/")
    wait, db = _number("wait", query.pop("wait", "0")), query.pop("db", "" if kind else path)
    options: dict[str, Any] = {name: query.pop(name) for name in _PATHS if name in query}
    if query:
        known = ", ".join(("db", "wait", *_PATHS))
        raise ConfigError([f"sessions.store: there is no option {min(query)!r}; there are {known}"])
    if kind == "sentinel" and not path:
        raise ConfigError(["sessions.store: no service name; write redis+sentinel://HOST:PORT/SERVICE"])
    is_tls = scheme in {"rediss", "valkeys"}
    if options and not is_tls:
        raise ConfigError(
            [f"sessions.store: {min(options)} needs TLS; write rediss:// instead of {scheme}://"]
        )
    options |= {"db": _number("db", db or "0")}
    if parts.password:
        options |= {"username": unquote(parts.username or "") or None, "password": unquote(parts.password)}
    addresses = _addresses(parts.netloc, _SENTINEL_PORT if kind == "sentinel" else _REDIS_PORT)
    return Target(kind, addresses, path, wait, is_tls, options)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError([f"sessions.store: {name}: {text!r} is no number; write {name}=1 or leave it out"])
    return int(text)


def _addresses(netloc: str, default_port: int) -> list[Address]:
    found = []
    for part in netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{part}")
        if not one.hostname:
            raise ConfigError([f"sessions.store: {part!r} is no host; write HOST:PORT,HOST:PORT"])
        found.append((one.hostname, one.port or default_port))
    return found


@cache
def _context(ca_certs: str | None, certfile: str | None, keyfile: str | None) -> ssl.SSLContext:
    # Made once: to read the system's certificates takes longer than a connection may, and blocks.
    context = ssl.create_default_context(cafile=ca_certs)
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile)
    return context


class _Replies:
    # What comes back for some commands.

    def __init__(self, parse_error: Callable[[str], Exception]) -> None:
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error)
        self._left = 0
        self._read: list[Any] = []

    def expect(self, batch: list[Command], replies: list[Any]) -> bytes:
        # Returns what to send.
        self._left, self._read = len(batch), replies
        return b"".join(map(hiredis.pack_command, batch))

    def feed(self, data: bytes) -> bool:
        # Returns whether that is all.
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._reader.feed(data)
        while self._left:
            reply = self._reader.gets()
            if reply is False:
                return False
            if isinstance(reply, Exception) and _ends_connection(reply):
                raise reply
            self._read.append(reply)
            self._left -= 1
        return True


def _ends_connection(error: Exception) -> bool:
    # A primary that has become a replica answers so; the primary is elsewhere.
    return isinstance(error, ReadOnlyError) or not isinstance(error, ResponseError)


# redis-py opens the socket; these open it in time.


class _Timed(redis.connection.Connection):
    _replies: _Replies

    def _connect(self) -> Any:
        self._replies = _Replies(self._parser.parse_error)
        return self._open()

    def _open(self) -> Any:
        return in_time.connect(self.host, self.port, self.socket_timeout)

    def exchange(self, batch: list[Command], replies: list[Any]) -> None:
        """Send commands together and add their replies, errors among them."""
        sock: Any = self._sock
        is_all = self._replies.feed(sock.ask(self._replies.expect(batch, replies), _READ_BYTES))
        while not is_all:
            is_all = self._replies.feed(sock.recv(_READ_BYTES))


class _TimedTls(_Timed, redis.connection.SSLConnection):
    def _open(self) -> Any:
        sock = in_time.connect(self.host, self.port, self.socket_timeout)
        try:
            sock.arm()
            context = _context(self.ca_certs, self.certfile, self.keyfile)
            wrapped = context.wrap_socket(sock._sock, server_hostname=self.host)  # noqa: SLF001
            return in_time.TimedSocket(wrapped, self.socket_timeout)
        except BaseException:
            sock.close()
            raise


class _TimedSentinel(_Timed, redis.sentinel.SentinelManagedConnection):
    pass


class _TimedSentinelTls(_TimedTls, redis.sentinel.SentinelManagedSSLConnection):
    pass


class _Loop(redis.asyncio.connection.Connection):
    # Its time is limited from outside; what is left is to look up the name.
    _address = ""
    _replies: _Replies

    async def exchange(self, batch: list[Command], replies: list[Any]) -> None:
        """Send commands together and add their replies, errors among them."""
        reader, writer = self._reader, self._writer
        assert reader is not None and writer is not None  # noqa: S101, PT018  # it is connected
        writer.write(self._replies.expect(batch, replies))
        await writer.drain()
        while not self._replies.feed(await reader.read(_READ_BYTES)):
            pass

    async def _connect(self) -> None:
        self._replies = _Replies(self._parser.parse_error)
        error: Exception = OSError(f"{self.host} has no address")
        for *_, address in await in_time.alook_up(self.host, self.port):
            self._address = address[0]
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except OSError as failed:
                error = failed
            else:
                return
        raise error

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self._address, "port": self.port}


class _LoopTls(_Loop, redis.asyncio.connection.SSLConnection):
    def _connection_arguments(self) -> Mapping[str, Any]:
        context = _context(self.ca_certs, self.certfile, self.keyfile)
        return {"host": self._address, "port": self.port, "ssl": context, "server_hostname": self.host}


class _LoopSentinel(_Loop, redis.asyncio.sentinel.SentinelManagedConnection):
    pass


class _LoopSentinelTls(_LoopTls, redis.asyncio.sentinel.SentinelManagedSSLConnection):
    pass


class Maker(NamedTuple):
    """What makes connections.

    Attributes:
        make: returns one that is not connected yet; for a Cluster it is told host and port.
        sentinel: whom it asks, to be closed at the end.
    """

    make: Callable[..., Any]
    sentinel: Any = None


def maker(target: Target, timeout_s: float) -> Maker:
    """Return what makes blocking connections."""
    options = _options(target, timeout_s, Retry(NoBackoff(), 0)) | _QUIET
    plain = _TimedTls if target.is_tls else _Timed
    if target.kind != "sentinel":
        return Maker(partial(plain, **options, **_server(target)))
    managed = _TimedSentinelTls if target.is_tls else _TimedSentinel
    pool, sentinel = _sentinel_pool(redis.sentinel, plain, target, options)
    return Maker(partial(managed, **{**pool.connection_kwargs, "connection_pool": pool}), sentinel)


def async_maker(target: Target, timeout_s: float) -> Maker:
    """Return what makes connections for one event loop."""
    options = _options(target, timeout_s, AsyncRetry(NoBackoff(), 0)) | _QUIET
    plain = _LoopTls if target.is_tls else _Loop
    if target.kind != "sentinel":
        return Maker(partial(plain, **options | {"socket_timeout": None}, **_server(target)))
    managed = _LoopSentinelTls if target.is_tls else _LoopSentinel
    pool, sentinel = _sentinel_pool(redis.asyncio.sentinel, plain, target, options)
    settings = {**pool.connection_kwargs, "connection_pool": pool, "socket_timeout": None}
    return Maker(partial(managed, **settings), sentinel)


def client(target: Target, timeout_s: float) -> Any:
    """Return an ordinary client of redis-py, for looking at the servers."""
    library: Any = redis
    options = _options(target, timeout_s, Retry(NoBackoff(), 0))
    options |= {"ssl": True} if target.is_tls else {}
    if target.kind == "cluster":
        nodes = [library.cluster.ClusterNode(host, port) for host, port in target.addresses]
        return library.RedisCluster(startup_nodes=nodes, **options)
    if target.kind == "sentinel":
        return library.sentinel.Sentinel(target.addresses, **options).master_for(target.service)
    return library.Redis(**options, **_server(target))


def _server(target: Target) -> dict[str, Any]:
    host, port = target.addresses[0]
    return {} if target.kind == "cluster" else {"host": host, "port": port}


def _options(target: Target, timeout_s: float, retry: Any) -> dict[str, Any]:
    times = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    options = {**target.options, **times, "retry": retry, "protocol": 2}
    if target.kind == "cluster":
        del options["db"]  # a Cluster has one
    return options


def _sentinel_pool(library: Any, plain: type, target: Target, options: dict[str, Any]) -> tuple[Any, Any]:
    # One Sentinel that hangs must leave time to ask another, and then the primary.
    share_s = options["socket_timeout"] / (len(target.addresses) + 1)
    asking = {
        "socket_timeout": share_s,
        "socket_connect_timeout": share_s,
        "retry": options["retry"],
    } | _QUIET
    asking |= {name: value for name, value in options.items() if name.startswith("ssl_")}
    asking |= {"ssl": True} if target.is_tls else {}
    sentinel = library.Sentinel(target.addresses, sentinel_kwargs=asking, **options)
    for each in sentinel.sentinels:
        each.connection_pool.connection_class = plain
    return sentinel.master_for(target.service).connection_pool, sentinel
