"""What control asks of a data plane, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping, Sequence

    from limpet.config.schema import AccessLogSettings, TracingSettings
    from limpet.control.state import GroupState
    from limpet.core.active_sessions import Residence
    from limpet.core.address import Address
    from limpet.core.model import Listener, Snapshot
    from limpet.core.target import TargetState
    from limpet.proxy.counters import Outcome


class Totals(NamedTuple):
    """What the data plane has counted since the start.

    Attributes:
        requests: finished.
        connections: open client connections.
        rejected_connections: closed because there were too many.
    """

    requests: int
    connections: int
    rejected_connections: int


class HandshakeTotals(NamedTuple):
    """What became of TLS handshakes with clients since the start of the workers that live.

    Attributes:
        done: that succeeded.
        resumed: of these, the ones that took up an earlier session.
        failed: by cause.
    """

    done: int
    resumed: int
    failed: Mapping[str, int]


class Active(NamedTuple):
    """The active sessions of a target group.

    Attributes:
        residences: by their keys.
        is_truncated: there were too many to remember, so the counts are too low.
    """

    residences: Mapping[bytes, Residence]
    is_truncated: bool


class DataPlane(Protocol):
    """Listens, routes and forwards; it decides nothing that outlives a request.

    Attributes:
        deaths: workers that ended unasked.
    """

    deaths: int

    async def start(self) -> None:
        """Make ready to serve."""
        ...

    def use(self, snapshot: Snapshot, groups: Mapping[str, GroupState]) -> None:
        """Make a snapshot the current one, soon if not at once.

        Args:
            groups: what its lasting objects were made of.
        """
        ...

    async def open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Start serving on sockets that listen already; they stay the caller's."""
        ...

    def relisten(self, bound: Address, listener: Listener) -> None:
        """Serve another listener on a bound address."""
        ...

    def close(self, bound: Address) -> None:
        """Stop serving on a bound address; open connections go on."""
        ...

    def forget(self, state: TargetState) -> None:
        """End what is left of a target that is not registered any more."""
        ...

    def use_log(self, settings: AccessLogSettings) -> None:
        """Write another access log.

        Raises:
            OSError: it cannot be opened; the old one goes on.
        """
        ...

    def use_tracing(self, settings: TracingSettings) -> None:
        """Make spans of requests, or stop making them."""
        ...

    def reopen_log(self) -> None:
        """Go on in a new file of the same name.

        Raises:
            OSError: it cannot be opened; the old one goes on.
        """
        ...

    def refresh(self) -> Totals:
        """Bring the targets' counters up to date and return the totals."""
        ...

    async def active_sessions(self) -> Mapping[str, Active]:
        """Return which sessions were seen lately, and where, by group."""
        ...

    async def outcomes(self) -> Mapping[Outcome, list[float]]:
        """Return what became of requests; see `proxy.counters`."""
        ...

    async def handshakes(self) -> HandshakeTotals:
        """Return what became of TLS handshakes."""
        ...

    async def explain(self, request_id: str) -> dict[str, object] | None:
        """Return a recent request's decision as JSON-able values; None if none has that id."""
        ...

    async def recent(self, count: int) -> list[dict[str, object]]:
        """Return the last decisions, and as many of the last notable ones; newest first."""
        ...

    async def drain(self, timeout_s: float, cutting: asyncio.Event | None = None) -> int:
        """Stop serving: requests in flight are answered, and each answer closes its connection.

        Args:
            cutting: once set, they are not waited for any longer.

        Returns:
            How many requests were cut.
        """
        ...
