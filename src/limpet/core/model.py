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

from limpet.core.relief.relief import Relief
from limpet.core.tls import TargetTls

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

    from limpet.core.active_sessions import ActiveSessions
    from limpet.core.address import Address
    from limpet.core.balancing.policy import Policy
    from limpet.core.rules.group_pin import GroupPin
    from limpet.core.rules.table import RuleTable
    from limpet.core.stickiness.contract import Stickiness
    from limpet.core.target import TargetState
    from limpet.core.tls import HttpsRedirect, ListenerTls


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLimits:
    """What one target is asked to bear, and how long limpet waits for it.

    Attributes:
        max_in_flight: requests at a time per target; 0 for no limit.
        max_queued: requests waiting per target once it is full.
        queue_timeout_s: how long one waits in that queue before its 503.
        connect_timeout_s: for a new connection to be established.
        response_timeout_s: from the request's last byte to the response's first.
        idle_timeout_s: between two bytes of a body, either way.
        tunnel_idle_timeout_s: between two bytes of a WebSocket or another tunnel.
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
    tunnel_idle_timeout_s: float = 3600.0
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
        sessions: which sessions were seen lately, and where.
        limits: timeouts and bounds per target.
        relief: moves sessions away from targets that carry too much.
        is_failing_open: no target is healthy, so `available` holds all that are registered.
        tls: how its targets are spoken to, those whose address says https.
        own_cookies: names of limpet's cookies, those of other groups too; targets do not get them.
    """

    name: str
    by_id: Mapping[str, TargetState]
    available: tuple[TargetState, ...]
    policy: Policy
    stickiness: Stickiness
    sessions: ActiveSessions
    limits: TargetLimits = field(default_factory=TargetLimits)
    relief: Relief = field(default_factory=Relief)
    is_failing_open: bool = False
    tls: TargetTls = field(default_factory=TargetTls)
    own_cookies: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What one client may ask, and how long limpet waits for it.

    Attributes:
        max_head_bytes: request line and headers together; more is a 431 (or 414).
        max_headers: header lines of one request; more is a 431.
        max_body_bytes: of one request; more is a 413; 0 for no limit.
        max_connections: open client connections; above it new ones are closed at once; 0 for no limit.
        max_connections_per_client: the same for each client; see `core.per_client.numbering`.
        requests_per_s_per_client: that a client may ask for in the long run; more is a 429; 0 for no limit.
        burst: requests that a client may ask for at once.
        exempt_networks: whose clients the limits per client do not concern.
        header_timeout_s: from the first byte of a head to its last; also for a whole TLS handshake.
        body_timeout_s: between two reads of a request body.
        keep_alive_s: how long an idle client connection is kept.
        send_timeout_s: how long a client may not read what it is sent.
    """

    max_head_bytes: int = 65536
    max_headers: int = 100
    max_body_bytes: int = 0
    max_connections: int = 0
    max_connections_per_client: int = 0
    requests_per_s_per_client: float = 0.0
    burst: int = 100
    exempt_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    keep_alive_s: float = 75.0
    send_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """What limpet tells targets and clients about each other.

    Attributes:
        trusted_proxies: networks (CIDR) whose X-Forwarded-* and Forwarded headers are kept and
            extended, and whose PROXY protocol is believed; from others those headers are dropped.
        error_pages: HTML by status, sent instead of limpet's own page.
    """

    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    error_pages: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One address on which clients are served.

    Attributes:
        address: where limpet listens.
        group: name of the target group that gets the requests; "" if only rules decide.
        name: tells it from others, also when a reload has changed it; see `Snapshot.rules`.
        has_rules: whether there were any when this was made.
        is_proxy_protocol: each connection starts with a PROXY protocol header, v1 or v2.
        http2: offered to clients that speak TLS.
        http2_prior_knowledge: without TLS, connections may begin with HTTP/2.
        tls: how TLS is spoken; None for plain HTTP.
        redirect: where clients are sent instead of to a target; None for not at all.
    """

    address: Address
    group: str
    name: str = ""
    has_rules: bool = False
    is_proxy_protocol: bool = False
    http2: bool = True
    http2_prior_knowledge: bool = False
    tls: ListenerTls | None = None
    redirect: HttpsRedirect | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a request's decision depends on.

    Attributes:
        version: grows by one with each change.
        listeners: in configured order.
        groups: by name.
        rules: by the name of their listener; only of listeners that have some.
        group_pins: what pins clients to one of a rule's groups, by the rule's name.
        client_limits: what one client may ask.
        forwarding: what limpet tells targets and clients about each other.
    """

    version: int
    listeners: tuple[Listener, ...]
    groups: Mapping[str, TargetGroup]
    rules: Mapping[str, RuleTable] = field(default_factory=dict)
    group_pins: Mapping[str, GroupPin] = field(default_factory=dict)
    client_limits: ClientLimits = field(default_factory=ClientLimits)
    forwarding: Forwarding = field(default_factory=Forwarding)
