"""The one decision per request: which target, and why.

Theory of operation. A request passes one narrowing pipeline: the pin it brings (find), the
available targets, the policy's pick. `route` returns a `Decision` and does nothing else; the
data plane forwards the request, and asks `bind_response` what the answer has to carry. A
failed attempt that may be repeated asks `reroute` for another target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limpet.core.stickiness.contract import (
    NOTHING_TO_BIND,
    AfterRecovery,
    Finding,
    OnUnavailable,
    StickyStatus,
)
from limpet.core.target import Health
from limpet.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from limpet.core.clock import Now
    from limpet.core.model import TargetGroup
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.contract import Binding
    from limpet.core.stickiness.first_visits import Visit
    from limpet.core.target import TargetState

#: The request went where its pin says.
_BOUND = frozenset({StickyStatus.BOUND, StickyStatus.SEVERAL})
#: Statuses of requests that need no pin, so they start no first visit.
_PINLESS = frozenset({StickyStatus.OFF, StickyStatus.EXEMPT})


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
        reason: why this target: "sticky", "joined", the policy's verdict or a re-pin's cause.
        error: why there is no target.
        is_lent: the session keeps its pin to another target, so nothing is bound.
        candidates: what the policy chose from; empty when no policy was asked.
    """

    group: TargetGroup
    target: TargetState | None
    status: StickyStatus
    finding: Finding
    reason: str
    error: ErrorKind | None = None
    is_lent: bool = False
    candidates: tuple[Candidate, ...] = ()
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
        return _keep_pin(group, request, finding, target_id, now, rng)
    status = finding.status
    if status not in _PINLESS and group.stickiness.first_visits is not None:
        finding.visit = group.stickiness.first_visits.enter(request, now)
        joined = _joined_target(group, finding.visit)
        if joined is not None:
            group.policy.charge(joined)
            reason = f"joined a first visit ({status})"
            return Decision(group, joined, StickyStatus.JOINED, finding, reason)
    return _pick(group, request, finding, status, group.available, now, rng)


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
    if status in _BOUND:
        if group.stickiness.on_unavailable is OnUnavailable.UNAVAILABLE:
            return None
        status = StickyStatus.TARGET_UNAVAILABLE
        finding = replace(finding, is_settled=False)
    targets = tuple(target for target in group.available if target.id not in tried)
    if not targets:
        return None
    return _pick(group, request, finding, status, targets, now, rng)


def bind_response(decision: Decision, request: RequestHead, response: ResponseHead, now: Now) -> Binding:
    """Say what the response has to carry so that the session stays where it was sent."""
    finding = decision.finding
    if finding.is_settled or decision.is_lent or decision.target is None:
        return NOTHING_TO_BIND
    return decision.group.stickiness.bind(request, finding, decision.target.id, response, now)


def finish(decision: Decision, now: Now) -> None:
    """Note that a routed request has ended, answered or not."""
    visit = decision.finding.visit
    first_visits = decision.group.stickiness.first_visits
    if visit is not None and first_visits is not None:
        first_visits.leave(visit, now)


def _keep_pin(
    group: TargetGroup, request: RequestHead, finding: Finding, target_id: str, now: Now, rng: Random
) -> Decision:
    pinned = group.by_id.get(target_id)
    if pinned is None or not pinned.takes_sticky:
        return _redistribute(group, request, finding, pinned, now, rng)
    group.policy.charge(pinned)
    if finding.session_key is not None:
        group.sessions.touch(finding.session_key, target_id, now.mono_s)
    decision = finding.decision
    if decision is None or decision.group is not group:
        is_one = finding.status is StickyStatus.FOUND
        status = StickyStatus.BOUND if is_one else finding.status
        decision = finding.decision = Decision(group, pinned, status, finding, "sticky")
    return decision


def _redistribute(
    group: TargetGroup,
    request: RequestHead,
    finding: Finding,
    pinned: TargetState | None,
    now: Now,
    rng: Random,
) -> Decision:
    status = _why_unusable(pinned)
    if group.stickiness.on_unavailable is OnUnavailable.UNAVAILABLE:
        error = ErrorKind.STICKY_TARGET_UNAVAILABLE
        return Decision(group, None, status, finding, f"{status}, policy 'unavailable'", error)
    # A pin that needed no refresh now needs another target.
    unsettled = replace(finding, is_settled=False, decision=None)
    return _pick(group, request, unsettled, status, group.available, now, rng)


def _pick(
    group: TargetGroup,
    request: RequestHead,
    finding: Finding,
    status: StickyStatus,
    available: tuple[TargetState, ...],
    now: Now,
    rng: Random,
) -> Decision:
    if not available:
        return Decision(group, None, status, finding, "no target is available", ErrorKind.NO_TARGET)
    targets = _with_room(available, group.limits.max_in_flight)
    target = group.policy.pick(targets, request, now, rng)
    if finding.visit is not None:
        finding.visit.target_id = target.id
    if finding.session_key is not None:
        group.sessions.touch(finding.session_key, target.id, now.mono_s)
    is_lent = finding.target_id is not None and group.stickiness.after_recovery is AfterRecovery.TEMPORARY
    return Decision(
        group,
        target,
        status,
        finding,
        group.policy.name,
        is_lent=is_lent,
        candidates=tuple([Candidate(t.id, t.health, t.weight, t.in_flight) for t in targets]),
    )


def _joined_target(group: TargetGroup, visit: Visit) -> TargetState | None:
    target = group.by_id.get(visit.target_id) if visit.target_id is not None else None
    return target if target is not None and target.takes_sticky else None


def _with_room(available: tuple[TargetState, ...], max_in_flight: int) -> tuple[TargetState, ...]:
    # A new session goes where it need not wait; if every target is full, one of them queues it.
    if not max_in_flight:
        return available
    return tuple(target for target in available if target.in_flight < max_in_flight) or available


def _why_unusable(pinned: TargetState | None) -> StickyStatus:
    if pinned is None:
        return StickyStatus.TARGET_GONE
    if pinned.health is Health.DRAINING:
        return StickyStatus.TARGET_DRAINING
    return StickyStatus.TARGET_UNAVAILABLE
