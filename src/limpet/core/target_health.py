"""The health of a target: a state machine with thresholds.

Theory of operation. Checks and failed requests are observations; a state changes only after
enough of them in a row, so that one lost packet moves nobody. A target that was never checked
is in after one success, whatever the threshold (as on ALB): a deployment must not wait.

    state      observation                                   next state
    initial    success                                       healthy
    initial    unhealthy_threshold failures in a row         unhealthy
    healthy    unhealthy_threshold failures in a row         unhealthy
    initial    passive_threshold failed requests in a row    unhealthy
    healthy    passive_threshold failed requests in a row    unhealthy
    unhealthy  healthy_threshold successes in a row          healthy
    unavailable  passive_threshold failed requests           unhealthy
    unhealthy  passive recovery time over, without checks    unavailable

Unavailable means that nobody checks. The other states (draining, unused, maintenance) are the
operator's: no observation changes them.

Intervals are monotonic; a wall clock that jumps changes no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.core.target import Health

if TYPE_CHECKING:
    from limpet.core.target import TargetState

_CHECKED = frozenset({Health.INITIAL, Health.HEALTHY, Health.UNHEALTHY})
_PASSIVE = frozenset({Health.INITIAL, Health.HEALTHY, Health.UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthThresholds:
    """How many observations in a row change a state.

    Attributes:
        healthy: successes until an unhealthy target is healthy.
        unhealthy: failed checks until a target is unhealthy.
        passive: failed requests until a target is unhealthy; 0 for never.
    """

    healthy: int = 2
    unhealthy: int = 2
    passive: int = 3


def observe_check(state: TargetState, thresholds: HealthThresholds, *, is_success: bool, detail: str) -> bool:
    """Take in the result of a health check.

    Args:
        state: its `health`, `health_detail` and `consecutive` are written.
        detail: what the check saw, for the operator.

    Returns:
        Whether the health changed.
    """
    if state.health not in _CHECKED:
        return False
    agrees = is_success == (state.health is Health.HEALTHY)
    if agrees and state.health is not Health.INITIAL:
        state.consecutive = 0
        state.health_detail = detail
        return False
    state.consecutive += 1
    state.health_detail = detail
    if is_success:
        needed = 1 if state.health is Health.INITIAL else thresholds.healthy
        return state.consecutive >= needed and _change(state, Health.HEALTHY)
    return state.consecutive >= thresholds.unhealthy and _change(state, Health.UNHEALTHY)


def observe_failed_request(state: TargetState, thresholds: HealthThresholds, *, detail: str) -> bool:
    """Take in that a request got no response; `state.failures` counts them in a row.

    Returns:
        Whether the health changed.
    """
    if state.health not in _PASSIVE or not thresholds.passive or state.failures < thresholds.passive:
        return False
    state.health_detail = detail
    return _change(state, Health.UNHEALTHY)


def recover_unchecked(state: TargetState, *, unhealthy_for_s: float, recovery_s: float) -> bool:
    """Give a passively marked target another chance when nobody checks it.

    Returns:
        Whether the health changed.
    """
    if state.health is not Health.UNHEALTHY or unhealthy_for_s < recovery_s:
        return False
    state.failures = 0
    state.health_detail = "on probation after failed requests"
    return _change(state, Health.UNAVAILABLE)


def _change(state: TargetState, health: Health) -> bool:
    state.health = health
    state.consecutive = 0
    if health is Health.HEALTHY:
        state.failures = 0
    return True
