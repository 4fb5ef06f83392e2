"""The demo's servers: five processes of the shop, and a sixth if it is wanted."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from limpet.replicas.replica import Replica
from limpet.replicas.replica_set import ReplicaSet

if TYPE_CHECKING:
    from limpet.replicas.replica import AppSettings

SIZE = 5
_STOP_S = 5.0


class Fleet:
    """Runs the servers.

    Attributes:
        drained: names of servers that run and are not in use.
        extra: F, while it is there.
    """

    def __init__(self, settings: AppSettings) -> None:
        self.drained: set[str] = set()
        self.extra: Replica | None = None
        self._settings = settings
        self._set = ReplicaSet(settings, SIZE)
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def replicas(self) -> list[Replica]:
        """All servers, in the order of their letters."""
        return [*self._set.replicas, *([self.extra] if self.extra is not None else [])]

    def targets(self) -> list[dict[str, Any]]:
        """Return those in use, as tables of the configuration."""
        return [
            {"name": replica.name, "address": str(replica.address)}
            for replica in self.replicas
            if replica.name not in self.drained
        ]

    def replica(self, name: str) -> Replica:
        """Return one by its letter."""
        return next(replica for replica in self.replicas if replica.name == name)

    def lives(self, name: str, process: str) -> bool:
        """Return whether that process of a server still runs."""
        return any(each.name == name and str(each.pid) == process for each in self.replicas)

    async def start(self) -> None:
        """Start the five, and wait until they listen."""
        await self._set.start()

    def kill(self, name: str) -> bool:
        """Kill a server's process, which is started again; returns False if it is dead already."""
        pid = self.replica(name).pid
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    async def add(self) -> Replica:
        """Start F, and wait until it listens."""
        extra = Replica(SIZE, self._settings)
        try:
            await extra.start()
        except BaseException:
            await _end(extra)
            raise
        self.extra = extra
        return extra

    def remove_extra(self) -> None:
        """Let F go, if it is there; it has a moment to answer what it was asked."""
        if self.extra is not None:
            task = asyncio.create_task(_end(self.extra))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self.extra = None

    async def stop(self) -> None:
        """End all processes."""
        self.remove_extra()
        await asyncio.gather(self._set.stop(_STOP_S), *self._ending)
        self._set.close()


async def _end(replica: Replica) -> None:
    await replica.stop(_STOP_S)
    replica.close()
