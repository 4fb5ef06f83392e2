"""Stands between the app and its session store, so that the store can be away for a while.

Theory. The real store is never touched: it may be somebody's. The app is given the address of a relay
instead, in the same environment variable. While the relay is *cut*, connections are closed at once, the
open ones with them, as when a store is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Schemes of stores that speak over one plain TCP connection, with their ports.
PORTS = {
    "redis": 6379,
    "valkey": 6379,
    "memcached": 11211,
    "memcache": 11211,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "mariadb": 3306,
}
#: These name servers that tell where the store is, not the store.
_OTHERWISE = frozenset({"sentinel", "cluster", "srv"})
_CHUNK_BYTES = 65536


def stores_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that hold the URL of a store which a relay can stand in front of."""
    return {name: value for name, value in environ.items() if _address(value) is not None}


class Relay:
    """A relay in front of one store.

    Args:
        url: of the store.

    Attributes:
        url: of the relay, the same but for host and port; known once it is started.
        is_cut: whether the store is away.
        connections: how many the app has made so far.
    """

    def __init__(self, url: str) -> None:
        address = _address(url)
        if address is None:
            raise ValueError(f"{url!r} names no store that a relay can stand in front of")
        self._store = address
        self._store_url = url
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.url = url
        self.is_cut = False
        self.connections = 0

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = _with_address(self._store_url, port)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Take the store away."""
        self.is_cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Bring the store back."""
        self.is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_cut:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            store_reader, store_writer = await asyncio.open_connection(*self._store)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(store_writer)
        try:
            await asyncio.gather(_copy(reader, store_writer), _copy(store_reader, writer))
        finally:
            self._writers -= {writer, store_writer}
            writer.transport.abort()
            store_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


def _address(url: str) -> tuple[str, int] | None:
    scheme, separator, _ = url.partition("://")
    kind, _, driver = scheme.partition("+")
    port = PORTS.get(kind)
    if not separator or port is None or driver in _OTHERWISE:
        return None
    try:
        parts = urlsplit(url)
        host, given = parts.hostname, parts.port
    except ValueError:
        return None
    # Several hosts, or none (a socket file), are nothing that one relay can be.
    return (host, given or port) if host and "," not in parts.netloc else None


def _with_address(url: str, port: int) -> str:
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))
