"""Which targets of a group may take requests; the one place that knows.

    may get a new session    healthy (or unchecked), weight above 0; backups only if no ordinary
                             target is healthy; all that are registered if nobody is (fail-open);
                             those that terminate only if there are no others
    may keep its sessions    healthy or unchecked, whatever its weight, backups included; every
                             registered target when failing open
    nothing at all           draining, unused, in maintenance

Source: fail-open as on ALB, `unhealthy_state_routing` with a minimum of one healthy target; targets that
terminate but serve as in Kubernetes (KEP-1669).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from limpet.core.target import SERVING, Health

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.core.target import TargetState

_OUT = frozenset({Health.DRAINING, Health.UNUSED, Health.MAINTENANCE})


class Availability(NamedTuple):
    """The verdict on a group.

    Attributes:
        new_sessions: targets that may get a new session, in the order given.
        keeps_sessions: ids of targets that may serve requests pinned to them.
        is_failing_open: nobody is healthy, so everybody is tried.
    """

    new_sessions: tuple[TargetState, ...]
    keeps_sessions: frozenset[str]
    is_failing_open: bool


def availability(states: Iterable[TargetState]) -> Availability:
    """Judge a group's targets by their health."""
    registered = [state for state in states if state.health not in _OUT]
    serving = [state for state in registered if state.health in SERVING]
    is_failing_open = not serving and bool(registered)
    pool = registered if is_failing_open else serving
    # Weight 0 is the operator's word for "no new sessions"; if all say so, it is kept all the same.
    weighty = [state for state in pool if state.weight > 0]
    staying = [state for state in weighty if not state.target.is_terminating]
    new = _ordinary(staying) or staying or _ordinary(weighty) or weighty
    return Availability(tuple(new), frozenset(state.id for state in pool), is_failing_open)


def _ordinary(states: list[TargetState]) -> list[TargetState]:
    return [state for state in states if not state.target.is_backup]
