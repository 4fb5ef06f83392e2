"""The contract of a kind of stickiness, and the words for what it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from limpet.core.session_state import NO_FLOOR, Floor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.route import Decision
    from limpet.core.stickiness.first_visits import FirstVisits, Visit
    from limpet.core.stickiness.ticket import Ticket
    from limpet.core.target import TargetState


class StickyStatus(StrEnum):
    """What became of a request's stickiness; one per request, in the log and in `explain`.

    The first block is found by the kind of stickiness, the second by `route`, which knows
    the targets. Every status leads to a working request.
    """

    OFF = "off"  # the group is not sticky
    EXEMPT = "exempt"  # the path neither creates nor needs stickiness
    ABSENT = "absent"  # a client without a ticket: a new session
    SEVERAL = "several"  # several cookies of the name; the freshest valid one counts
    MALFORMED = "malformed"  # no ticket at all: garbage
    TRUNCATED = "truncated"  # the beginning of a ticket
    UNKNOWN_VERSION = "unknown_version"  # a format this limpet cannot read
    UNKNOWN_KEY = "unknown_key"  # sealed with a key that is not on the ring
    TAMPERED = "tampered"  # sealed by nobody we know, or changed on its way
    EXPIRED = "expired"  # idle for longer than the current duration
    OUTLIVED = "outlived"  # older than the absolute limit
    OTHER_GROUP = "other_group"  # a ticket for another target group
    APP_COOKIE_MISSING = "app_cookie_missing"  # the pin came without the app's cookie
    FOUND = "found"  # a valid pin; `route` turns it into one of the following

    BOUND = "bound"  # went where its pin says
    JOINED = "joined"  # went with another first request of the same client
    TARGET_GONE = "target_gone"  # its target is not registered any more
    TARGET_UNAVAILABLE = "target_unavailable"  # its target is unhealthy or in maintenance
    TARGET_DRAINING = "target_draining"  # its target is being deregistered
    TARGET_LEAVING = "target_leaving"  # its target is about to go, and it is portable: it has moved
    MOVED = "moved"  # portable, and its target has too many sessions: it has another now
    LENT = "lent"  # portable, and its target is busy: another serves this one request


class OnUnavailable(Enum):
    """What a pinned request gets when its target cannot serve it."""

    REDISTRIBUTE = "redistribute"  # another target, which becomes its own (see AfterRecovery)
    UNAVAILABLE = "unavailable"  # 503 until the target is back


class AfterRecovery(Enum):
    """Where a redistributed session goes once its first target is back."""

    STICKY = "sticky"  # it stays on the new target
    TEMPORARY = "temporary"  # it was only lent: it returns


@dataclass(slots=True)
class Finding:
    """What a request says of its stickiness.

    A finding may serve every request that brings the same cookies: it is not changed once made,
    but for its `visit` and `decision`.

    Attributes:
        status: FOUND or SEVERAL with a `target_id`, or the reason why there is none.
        target_id: where the pin points; None without a valid pin.
        ticket: the opened ticket of the cookie kinds; None for the others.
        session_key: identifies the session: in the table of active sessions, and to place it when it
            has no target that serves it; every finding with a `target_id` has one.
        visit: the first visit that the request belongs to; set by `route` for ticketless requests.
        is_settled: `bind` has nothing to do for this request, whatever the response says.
        settled_until_s: wall clock; until then every request with the same fields has this very
            finding. 0 if a finding depends on more than the fields.
        decision: the last that kept this pin; the next is the same while its group is.
    """

    status: StickyStatus
    target_id: str | None = None
    ticket: Ticket | None = None
    session_key: bytes | None = None
    visit: Visit | None = None
    is_settled: bool = False
    settled_until_s: float = 0.0
    decision: Decision | None = None

    def unsettled(self) -> Finding:
        """Return the same pin for a response that has to carry it."""
        return Finding(self.status, self.target_id, self.ticket, self.session_key, self.visit)


@dataclass(slots=True)
class Binding:
    """What the response has to carry so that the next request is found.

    Attributes:
        set_cookies: values of Set-Cookie headers, to be added after the target's own.
        make_private: a `Cache-Control: private` header has to be added, because a shared
            cache might otherwise store the ticket and hand it to others (RFC 9111 section 3).
    """

    set_cookies: Sequence[bytes] = ()
    make_private: bool = False


NOTHING_TO_BIND = Binding()


class Carried(NamedTuple):
    """What a ticket tells beside its target.

    Attributes:
        epoch: of the session's home.
        floor: the version of its data that its client may have seen.
    """

    epoch: int = 0
    floor: Floor = NO_FLOOR


NOTHING_CARRIED = Carried()


class Stickiness(Protocol):
    """Pins sessions to targets, in two phases: `find` before the choice, `bind` after it.

    One instance serves one target group and survives a reload that does not change its
    settings. It knows nothing of targets but their ids; `route` knows which of them serve.

    Attributes:
        kind: the name in the configuration and in `KINDS`.
        on_unavailable: what a pinned request gets when its target cannot serve it.
        after_recovery: whether a redistributed session returns.
        own_cookies: names of limpet's own cookies, which are never passed on to targets.
        first_visits: joins the parallel first requests of one client; None for a kind that
            needs no cookie to find its target.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def on_unavailable(self) -> OnUnavailable: ...  # noqa: D102
    @property
    def after_recovery(self) -> AfterRecovery: ...  # noqa: D102
    @property
    def own_cookies(self) -> frozenset[bytes]: ...  # noqa: D102
    @property
    def first_visits(self) -> FirstVisits | None: ...  # noqa: D102

    def find(self, request: RequestHead, targets: Mapping[str, TargetState], now: Now) -> Finding:
        """Read the request's pin. Never raises: whatever a client sends has a status.

        Args:
            targets: the registered targets by id, for a kind that names targets by something else.
        """
        ...

    def bind(
        self,
        request: RequestHead,
        finding: Finding,
        target_id: str,
        response: ResponseHead,
        now: Now,
        carried: Carried = NOTHING_CARRIED,
    ) -> Binding:
        """Say what pins the session to `target_id`, now that the response's head is known.

        Not called when `finding.is_settled`, unless `carried` is news. Of a session that is only
        lent, `target_id` is the target that it returns to.
        """
        ...
