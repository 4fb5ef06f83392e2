"""All replicas of one app."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.replicas.replica import Replica

if TYPE_CHECKING:
    from limpet.replicas.replica import AppSettings

#: How long a replica may take to end once it is asked to; then it is killed.
STOP_TIMEOUT_S = 10.0


class ReplicaSet:
    """Runs one app as several replicas; `close` gives back their ports.

    Args:
        settings: what to run.
        count: how many, at least 1.

    Attributes:
        replicas: in the order of their letters; their addresses are known before they run.
    """

    def __init__(self, settings: AppSettings, count: int) -> None:
        self.replicas = [Replica(index, settings) for index in range(count)]

    async def start(self) -> None:
        """Start all at once and wait until every one listens; if one cannot, stop all.

        Raises:
            AppError: the app cannot be run; the message says why.
            ReplicaError: a process ended before it was ready.
        """
        starting = [asyncio.create_task(replica.start()) for replica in self.replicas]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            await self.stop()
            await asyncio.gather(*starting, return_exceptions=True)
            raise

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End all processes; those that take longer than `timeout_s` are killed."""
        await asyncio.gather(*[replica.stop(timeout_s) for replica in self.replicas])

    def close(self) -> None:
        """Give back the ports of replicas that are not running any more."""
        for replica in self.replicas:
            replica.close()
