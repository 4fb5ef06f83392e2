"""The one decision per request: which target, and why.

Theory of operation. A request passes one narrowing pipeline: the pin it brings (find), the
available targets, the policy's pick. `route` returns a `Decision` and does nothing else; the
data plane forwards the request, and asks `bind_response` what the answer has to carry. A
failed attempt that may be repeated asks `reroute` for another target.

Only the policy places new sessions. A session that is known by a key (its ticket's id, its
client's hash) and has no target that serves it is *placed* by the rendezvous hash of that key.
For its browser sends several requests at a time: chosen one by one they would go to different
targets, each answer would pin it to another, and the last to arrive would undo a login that was
made in between. Placed by their key they meet, on every balancer and without a shared table,
and so do the requests of a session that is only lent.

A pinned session whose state is in a shared store may leave a target that could serve it, if that
carries too much: see `relief`. Its new home is known here before the client has the new ticket, so
requests that are under way with the old one follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from limpet.core.balancing.rendezvous import score
from limpet.core.session_state import NO_FLOOR, STORE_IS_DOWN, Floor, Moved
from limpet.core.stickiness.contract import (
    NOTHING_CARRIED,
    NOTHING_TO_BIND,
    AfterRecovery,
    Carried,
    Finding,
    OnUnavailable,
    StickyStatus,
)
from limpet.core.target import Health
from limpet.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from limpet.core.active_sessions import ActiveSession
    from limpet.core.clock import Now
    from limpet.core.model import TargetGroup
    from limpet.core.relief.relief import Relieved
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.session_state import SessionState
    from limpet.core.stickiness.contract import Binding
    from limpet.core.stickiness.first_visits import Visit
    from limpet.core.stickiness.ticket import Ticket
    from limpet.core.target import TargetState

#: How long balancers may take to hear of a new target one after the other.
MEMBERSHIP_GRACE_S = 60.0
#: Candidates that a decision keeps, as the last thousand decisions are remembered.
MAX_CANDIDATES = 100
#: The request went where its pin says.
_BOUND = frozenset({StickyStatus.BOUND, StickyStatus.SEVERAL})
#: Why a session has left its target, for `Limpet-Moved`.
_WHY_LEFT = {
    StickyStatus.TARGET_GONE: "gone",
    StickyStatus.TARGET_UNAVAILABLE: "unavailable",
    StickyStatus.TARGET_DRAINING: "drain",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One target as the policy saw it; for `limpet explain`."""

    target_id: str
    health: Health
    weight: float
    in_flight: int


@dataclass(slots=True)
class Decision:
    """Where a request goes and why.

    Attributes:
        group: the target group as of the snapshot that decided.
        target: the chosen target; None together with `error`.
        status: what became of the request's stickiness.
        finding: what the request said of its stickiness.
        reason: why this target: "sticky", "joined ...", "placed by its key", or the policy's name.
        error: why there is no target.
        is_lent: the session keeps its pin, to a target that cannot serve it now.
        candidates: what the policy chose from, of many the first `MAX_CANDIDATES` and the chosen; empty
            when no policy was asked.
        session: what is known of the request's session; None for a first visit.
        moved: what the target is told of a session that was at home elsewhere.
        row, row_status: where the last request with this decision was counted, and its status: those of
            a pinned session mostly end alike; see `proxy.counters`.
    """

    group: TargetGroup
    target: TargetState | None
    status: StickyStatus
    finding: Finding
    reason: str
    error: ErrorKind | None = None
    is_lent: bool = False
    candidates: tuple[Candidate, ...] = ()
    session: ActiveSession | None = None
    moved: Moved | None = None
    row: list[float] | None = None
    row_status: int = 0
    _text: bytes = b""

    @property
    def text(self) -> bytes:
        """Return the decision as the access log shows it: group/target, status, "reason"."""
        if not self._text:
            target = self.target.id if self.target is not None else "-"
            self._text = f'{self.group.name}/{target} {self.status} "{self.reason}"'.encode()
        return self._text


def route(group: TargetGroup, request: RequestHead, now: Now, rng: Random) -> Decision:
    """Decide which target of `group` gets a request.

    Whatever becomes of it, a routed request must be ended with `finish`.
    """
    finding = group.stickiness.find(request, group.by_id, now)
    target_id = finding.target_id
    if target_id is not None:
        return _keep_pin(group, finding, target_id, now, rng)
    if finding.session_key is not None:
        return _place(group, finding, finding.status, finding.session_key, group.available, now)
    first_visits = group.stickiness.first_visits
    if finding.is_settled or first_visits is None:
        return _pick(group, request, finding, group.available, now, rng)
    visit = finding.visit = first_visits.enter(request, now)
    if visit.target_id is None:
        decision = _pick(group, request, finding, group.available, now, rng)
        first_visits.place(visit, decision.target.id if decision.target is not None else None)
        return decision
    return _join(group, finding, visit, finding.status, group.available, now)


def reroute(
    decision: Decision,
    group: TargetGroup,
    request: RequestHead,
    tried: Collection[str],
    now: Now,
    rng: Random,
) -> Decision | None:
    """Decide again after an attempt failed before its target can have acted on it.

    Args:
        decision: the one that failed.
        group: the target group as of the current snapshot.
        tried: ids of the targets that failed this request.

    Returns:
        The new decision, or None if no other target may take the request.
    """
    finding = decision.finding
    status = decision.status
    if status is StickyStatus.LENT:
        home = group.by_id.get(cast("str", finding.target_id))
        if home is not None and home.takes_sticky and home.id not in tried:
            return _stay(group, finding, home, decision.session)
        status = StickyStatus.TARGET_UNAVAILABLE
    if status in _BOUND:
        if group.stickiness.on_unavailable is OnUnavailable.UNAVAILABLE:
            return None
        status = StickyStatus.TARGET_UNAVAILABLE
        finding = _unsettled(group, finding, status, now)
    targets = tuple(target for target in group.available if target.id not in tried)
    if not targets:
        return None
    if finding.session_key is not None:
        return _place(group, finding, status, finding.session_key, targets, now)
    if finding.visit is not None:
        return _join(group, finding, finding.visit, status, targets, now, tried)
    return _pick(group, request, finding, targets, now, rng)


def bind_response(decision: Decision, request: RequestHead, response: ResponseHead, now: Now) -> Binding:
    """Say what the response has to carry so that the session stays where it was sent."""
    finding, target = decision.finding, decision.target
    if target is None or (finding.is_settled and not has_news(decision)):
        return NOTHING_TO_BIND
    # A lent session stays pinned to its own target; it goes on, so its pin must not expire.
    home = finding.target_id if decision.is_lent and finding.target_id is not None else target.id
    carried = _carried(decision, home, response)
    return decision.group.stickiness.bind(request, finding, home, response, now, carried)


def has_news(decision: Decision) -> bool:
    """Whether the client's ticket is behind what is known of its session's data."""
    session, ticket = decision.session, decision.finding.ticket
    return session is not None and ticket is not None and session.floor != ticket.floor


def take_state(decision: Decision, state: SessionState, began_s: float, mono_s: float) -> None:
    """Note what a response says of its session, and of the target that sent it.

    Args:
        began_s: monotonic; when the request came.
        mono_s: now.
    """
    target = decision.target
    if target is None:
        return
    if state.is_portable:
        target.seen_fingerprint = state.fingerprint
    elif state.why == STORE_IS_DOWN:
        decision.group.relief.store_failed(mono_s)
    if decision.session is not None:
        decision.session.take(state, began_s, mono_s)


def _carried(decision: Decision, home: str, response: ResponseHead) -> Carried:
    session, ticket = decision.session, decision.finding.ticket
    if session is None:  # a first visit
        state = response.state
        if state is None or state.version is None:
            return NOTHING_CARRIED
        return Carried(floor=Floor(state.version, state.tag))
    epoch = ticket.epoch if ticket is not None else 0
    if ticket is not None and ticket.target_id != home:
        epoch += 1
    return Carried(max(epoch, session.epoch), session.floor)


def finish(decision: Decision, now: Now) -> None:
    """Note that a routed request has ended, answered or not."""
    visit = decision.finding.visit
    first_visits = decision.group.stickiness.first_visits
    if visit is not None and first_visits is not None:
        first_visits.leave(visit, now)


def _keep_pin(group: TargetGroup, finding: Finding, target_id: str, now: Now, rng: Random) -> Decision:
    pinned = group.by_id.get(target_id)
    session = _known(group, finding, pinned)
    if (
        session is not None
        and session.target is not pinned
        and session.target.takes_sticky
        and group.by_id.get(session.target.id) is session.target
    ):  # it was given another home, and the ticket that says so is on its way
        pinned, finding = session.target, finding.unsettled()
    if pinned is None or not pinned.takes_sticky:
        return _redistribute(group, finding, pinned, now)
    if finding.ticket is not None:
        if session is None:
            session = _enter(group, finding, pinned, now)
        else:
            _heed(session, finding.ticket)
        relieved = group.relief.relieve(group, session, pinned, now.mono_s, rng)
        if relieved is not None:
            return _relieve(group, finding, session, pinned, relieved, now)
    return _stay(group, finding, pinned, _enter(group, finding, pinned, now))


def _stay(
    group: TargetGroup, finding: Finding, pinned: TargetState, session: ActiveSession | None
) -> Decision:
    group.policy.charge(pinned)
    decision = finding.decision
    if decision is None or decision.group is not group or decision.session is not session:
        is_one = finding.status is StickyStatus.FOUND
        status = StickyStatus.BOUND if is_one else finding.status
        decision = finding.decision = Decision(group, pinned, status, finding, "sticky", session=session)
    return decision


def _known(group: TargetGroup, finding: Finding, pinned: TargetState | None) -> ActiveSession | None:
    # None also if the ticket is newer than what is known, or if another server has the old one's name.
    key, ticket = finding.session_key, finding.ticket
    session = group.sessions.get(key) if key is not None and ticket is not None else None
    if session is None or ticket is None:
        return None
    if session.target is not pinned and session.epoch <= ticket.epoch:
        return None
    return session


def _enter(group: TargetGroup, finding: Finding, home: TargetState, now: Now) -> ActiveSession:
    session = group.sessions.touch(cast("bytes", finding.session_key), home, now.mono_s)
    ticket = finding.ticket
    if ticket is not None:
        session.epoch = max(session.epoch, ticket.epoch)
        _heed(session, ticket)
    return session


def _heed(session: ActiveSession, ticket: Ticket) -> None:
    # Another balancer or worker may have seen a later version.
    floor = ticket.floor
    if session.floor is NO_FLOOR or floor.tag == session.floor.tag:
        session.raise_floor(floor)


def _relieve(
    group: TargetGroup,
    finding: Finding,
    session: ActiveSession,
    home: TargetState,
    relieved: Relieved,
    now: Now,
) -> Decision:
    target, status, why = relieved
    group.policy.charge(target)
    moved = Moved(home.id, why)
    if status is StickyStatus.LENT:
        home.lent += 1
        target.borrowed += 1
        session = group.sessions.touch(session.key, home, now.mono_s)
        reason = f"lent: {home.id} has {home.load} in flight"
        return Decision(group, target, status, finding, reason, is_lent=True, session=session, moved=moved)
    session.epoch += 1
    group.sessions.touch(session.key, target, now.mono_s)
    reason = f"moved from {home.id} ({why})"
    return Decision(group, target, status, finding.unsettled(), reason, session=session, moved=moved)


def _redistribute(group: TargetGroup, finding: Finding, pinned: TargetState | None, now: Now) -> Decision:
    status = _why_unusable(pinned)
    if group.stickiness.on_unavailable is OnUnavailable.UNAVAILABLE:
        error = ErrorKind.STICKY_TARGET_UNAVAILABLE
        return Decision(group, None, status, finding, f"{status}, policy 'unavailable'", error)
    key = cast("bytes", finding.session_key)  # every pin has one
    return _place(group, _unsettled(group, finding, status, now), status, key, group.available, now)


def _place(
    group: TargetGroup,
    finding: Finding,
    status: StickyStatus,
    key: bytes,
    targets: tuple[TargetState, ...],
    now: Now,
) -> Decision:
    # Full targets are not left out: which are full changes from request to request.
    if not targets:
        return _no_target(group, finding, status)
    session = group.sessions.get(key)
    home = group.by_id.get(finding.target_id) if finding.target_id is not None else None
    knowing = group.relief.readers(session, home, targets)
    target = max(knowing, key=lambda state: score(key, state.id, state.weight))
    group.policy.charge(target)
    if finding.visit is not None:
        finding.visit.target_id = target.id
    is_lent = _is_lent(group, finding, status, now)
    if finding.session_key is not None:
        # Its epoch stays: one failed attempt must not take others with the same ticket away from home.
        session = _enter(group, finding, target, now)
    why = _WHY_LEFT.get(status)
    return Decision(
        group,
        target,
        status,
        finding,
        f"lent until {finding.target_id} is back" if is_lent else "placed by its key",
        is_lent=is_lent,
        session=session,
        moved=Moved(finding.target_id, why) if why is not None and finding.target_id is not None else None,
    )


def _join(
    group: TargetGroup,
    finding: Finding,
    visit: Visit,
    status: StickyStatus,
    targets: tuple[TargetState, ...],
    now: Now,
    tried: Collection[str] = (),
) -> Decision:
    joined = group.by_id.get(visit.target_id) if visit.target_id is not None else None
    if joined is None or not joined.takes_sticky or joined.id in tried:
        return _place(group, finding, status, visit.ticket_id, targets, now)
    group.policy.charge(joined)
    reason = f"joined a first visit ({finding.status})"
    return Decision(group, joined, StickyStatus.JOINED, finding, reason)


def _pick(
    group: TargetGroup,
    request: RequestHead,
    finding: Finding,
    available: tuple[TargetState, ...],
    now: Now,
    rng: Random,
) -> Decision:
    if not available:
        return _no_target(group, finding, finding.status)
    targets = _with_room(available, group.limits.max_in_flight)
    if finding.status is not StickyStatus.OFF:  # there, no session comes to stay: the policy alone decides
        targets = group.relief.for_new(targets)
    target = group.policy.pick(targets, request, now, rng)
    return Decision(
        group,
        target,
        finding.status,
        finding,
        group.policy.name,
        candidates=_candidates(targets, target),
    )


def _candidates(targets: tuple[TargetState, ...], chosen: TargetState) -> tuple[Candidate, ...]:
    shown = targets[:MAX_CANDIDATES]
    if len(targets) > MAX_CANDIDATES and chosen not in shown:
        shown = (*shown, chosen)
    return tuple([Candidate(t.id, t.health, t.weight, t.load) for t in shown])


def _no_target(group: TargetGroup, finding: Finding, status: StickyStatus) -> Decision:
    return Decision(group, None, status, finding, "no target is available", ErrorKind.NO_TARGET)


def _unsettled(group: TargetGroup, finding: Finding, status: StickyStatus, now: Now) -> Finding:
    # A pin that needed no refresh now needs another target, unless the session is only lent.
    return finding if _is_lent(group, finding, status, now) else finding.unsettled()


def _is_lent(group: TargetGroup, finding: Finding, status: StickyStatus, now: Now) -> bool:
    # A target that is gone, or on its way out, will not come back for its sessions. But one that is
    # not known here, in a ticket that was sealed a moment ago, may be new: another balancer, which
    # was told of it first, has pinned a session to it that must not be taken away.
    if status is StickyStatus.TARGET_GONE:
        ticket = finding.ticket
        return ticket is not None and now.wall_s - ticket.last_seen_s < MEMBERSHIP_GRACE_S
    is_temporary = group.stickiness.after_recovery is AfterRecovery.TEMPORARY
    return is_temporary and status is StickyStatus.TARGET_UNAVAILABLE


def _with_room(available: tuple[TargetState, ...], max_in_flight: int) -> tuple[TargetState, ...]:
    # A new session goes where it need not wait; if every target is full, one of them queues it.
    if not max_in_flight:
        return available
    return tuple(target for target in available if target.load < max_in_flight) or available


def _why_unusable(pinned: TargetState | None) -> StickyStatus:
    if pinned is None:
        return StickyStatus.TARGET_GONE
    if pinned.health is Health.DRAINING:
        return StickyStatus.TARGET_DRAINING
    return StickyStatus.TARGET_UNAVAILABLE
