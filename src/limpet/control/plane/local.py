"""A data plane in this process: the `Proxy` itself, and its access log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from limpet.control.plane.contract import Active, HandshakeTotals, Totals
from limpet.control.tracing import Tracer
from limpet.core.model import Snapshot
from limpet.proxy.access_log import AccessLog
from limpet.proxy.server import Proxy

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from limpet.config.schema import AccessLogSettings, TracingSettings
    from limpet.control.state import GroupState
    from limpet.core.address import Address
    from limpet.core.model import Listener, TargetGroup
    from limpet.core.target import TargetState
    from limpet.errors import ErrorKind
    from limpet.proxy.board import Place
    from limpet.proxy.counters import Outcome

#: Until the first configuration.
NOTHING = Snapshot(version=0, listeners=(), groups={})


class LocalPlane:
    """See `contract.DataPlane`.

    Args:
        on_target_error: as for `Proxy`.
        place: of this worker among several.
    """

    def __init__(
        self,
        on_target_error: Callable[[TargetGroup, TargetState, ErrorKind], None],
        place: Place | None = None,
    ) -> None:
        self.deaths = 0
        self.proxy = Proxy(NOTHING, access_log=None, on_target_error=on_target_error, place=place)

    async def start(self) -> None:
        """Do nothing: it is ready."""

    def use(self, snapshot: Snapshot, groups: Mapping[str, GroupState]) -> None:
        """Make a snapshot the current one."""
        del groups  # the objects themselves are here
        self.proxy.use(snapshot)

    async def open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Start serving on sockets that listen already."""
        await self.proxy.open(bound, listener, sockets)

    def relisten(self, bound: Address, listener: Listener) -> None:
        """Serve another listener on a bound address."""
        self.proxy.relisten(bound, listener)

    def close(self, bound: Address) -> None:
        """Stop serving on a bound address."""
        self.proxy.close(bound)

    def forget(self, state: TargetState) -> None:
        """End what is left of a target."""
        self.proxy.forget(state)

    def use_log(self, settings: AccessLogSettings) -> None:
        """Write another access log."""
        log = AccessLog(settings.path, settings.format) if settings.path != "off" else None
        self.proxy.settle()
        old, self.proxy.access_log = self.proxy.access_log, log
        if old is not None:
            old.close()

    def use_tracing(self, settings: TracingSettings) -> None:
        """Make spans of requests, or stop making them."""
        self.proxy.settle()
        old, self.proxy.tracer = self.proxy.tracer, None
        if isinstance(old, Tracer):  # it may wait for its collector
            self.proxy.loop.run_in_executor(None, old.close)
        if settings.enabled:
            self.proxy.tracer = Tracer(settings)

    def reopen_log(self) -> None:
        """Go on in a new file of the same name."""
        if self.proxy.access_log is not None:
            self.proxy.settle()
            self.proxy.access_log.reopen()

    def refresh(self) -> Totals:
        """Return the totals; the targets' counters are always up to date."""
        proxy = self.proxy
        return Totals(proxy.requests, len(proxy.clients), proxy.rejected_connections)

    async def active_sessions(self) -> Mapping[str, Active]:
        """Return which sessions were seen lately, and where, by group."""
        now_s = time.monotonic()
        return {
            name: Active(group.sessions.residences(now_s), group.sessions.is_truncated)
            for name, group in self.proxy.snapshot.groups.items()
        }

    async def outcomes(self) -> Mapping[Outcome, list[float]]:
        """Return what became of requests."""
        self.proxy.settle()
        return self.proxy.counters.rows

    async def handshakes(self) -> HandshakeTotals:
        """Return what became of TLS handshakes."""
        found = self.proxy.handshakes
        return HandshakeTotals(found.done, found.resumed, dict(found.failed))

    async def explain(self, request_id: str) -> dict[str, object] | None:
        """Return a recent request's decision."""
        return self.proxy.explain(request_id)

    async def recent(self, count: int) -> list[dict[str, object]]:
        """Return recent decisions."""
        return self.proxy.latest(count)

    async def drain(self, timeout_s: float, cutting: asyncio.Event | None = None) -> int:
        """Stop serving, and close the access log."""
        cut = await self.proxy.drain(timeout_s, cutting)
        if self.proxy.access_log is not None:
            self.proxy.access_log.close()
        if isinstance(self.proxy.tracer, Tracer):
            await asyncio.to_thread(self.proxy.tracer.close)
        return cut
