"""One consistent picture of the configuration and of the targets' states.

Theory of operation. `control` is the only writer: whenever something changes (a reload, a
health check's verdict, a drained target) it builds a new frozen `Snapshot` and swaps one
reference. The data plane reads that reference once per request and never sees half a
change. What must outlive a change (counters, health, a policy's books) lives in the
`TargetState`, `Policy` and `Stickiness` objects, which the snapshots share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.address import Address
    from limpet.core.balancing.policy import Policy
    from limpet.core.stickiness.contract import Stickiness
    from limpet.core.target import TargetState


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits:
    """What one target is asked to bear, and how long limpet waits for it.

    Attributes:
        max_in_flight: requests at a time per target; 0 for no limit.
        max_queued: requests waiting per target once it is full.
        queue_timeout_s: how long one waits in that queue before its 503.
        connect_timeout_s: for a new connection to be established.
        response_timeout_s: from the request's last byte to the response's first.
        idle_timeout_s: between two bytes of a body or tunnel, either way.
        keep_alive_s: how long an idle connection to a target is kept.
        max_idle_connections: idle connections kept per target.
        max_attempts: targets tried for one request, the first included.
    """

    max_in_flight: int = 0
    max_queued: int = 100
    queue_timeout_s: float = 10.0
    connect_timeout_s: float = 5.0
    response_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0
    keep_alive_s: float = 30.0
    max_idle_connections: int = 256
    max_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """A target group as of one snapshot.

    Attributes:
        name: as configured; stands in tickets and logs.
        by_id: every registered target, draining ones included.
        available: targets that may get a new session, in configured order; empty if none can.
        policy: chooses among `available`.
        stickiness: pins sessions to targets.
        limits: timeouts and bounds per target.
        is_failing_open: no target is healthy, so `available` holds all that are registered.
    """

    name: str
    by_id: Mapping[str, TargetState]
    available: tuple[TargetState, ...]
    policy: Policy
    stickiness: Stickiness
    limits: TargetLimits = field(default_factory=TargetLimits)
    is_failing_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address on which clients are served.

    Attributes:
        address: where limpet listens.
        group: name of the target group that gets the requests.
        is_proxy_protocol: each connection starts with a PROXY protocol header, v1 or v2.
    """

    address: Address
    group: str
    is_proxy_protocol: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a request's decision depends on.

    Attributes:
        version: grows by one with each change.
        listeners: in configured order.
        groups: by name.
    """

    version: int
    listeners: tuple[Listener, ...]
    groups: Mapping[str, TargetGroup]
