"""What `limpet status` shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from limpet import __version__
from limpet.control import certificates
from limpet.control.session_numbers import NOBODY, SessionEvents, count_residents, session_events
from limpet.core.target import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.control.balancer import Balancer
    from limpet.control.plane.contract import Active
    from limpet.control.session_numbers import Residents
    from limpet.control.state import GroupState
    from limpet.core.target import TargetState
    from limpet.proxy.counters import Outcome


async def status(balancer: Balancer, rows: Mapping[Outcome, list[float]]) -> dict[str, Any]:
    """Return what `limpet status` shows, as JSON-able values.

    Args:
        rows: what became of requests; see `proxy.counters`.
    """
    active = await balancer.plane.active_sessions()
    events = session_events(rows)
    totals = balancer.plane.refresh()
    groups = []
    for group in balancer.state.groups.values():
        frozen = balancer.snapshot.groups[group.name]
        groups.append(
            {
                "name": group.name,
                "algorithm": group.policy.name,
                "stickiness": group.stickiness.kind,
                "is_failing_open": frozen.is_failing_open,
                "sessions_are_truncated": active[group.name].is_truncated,
                "sources": balancer.membership.describe(group.name),
                "session_state": group.settings.session_state,
                "active_window_s": group.settings.stickiness.active_window_s,
                **events.get(group.name, SessionEvents()).as_json(),
                "targets": described(group, active[group.name]),
            }
        )
    return {
        "limpet": __version__,
        "workers": balancer.settings.workers,
        "uptime_s": round(time.monotonic() - balancer.started_s, 1),
        "version": balancer.snapshot.version,
        "reloads": balancer.reloads,
        **totals._asdict(),
        "keys": balancer.keys.origin,
        "handshakes": (await balancer.plane.handshakes())._asdict(),
        "listeners": [
            {
                "address": str(bound),
                "target_group": listener.group or None,
                "certificates": certificates.describe(listener, time.time()),
            }
            for listener, bound in balancer.bound.items()
        ],
        "target_groups": groups,
        "leaving": [describe(state, NOBODY) for state in balancer.state.leaving],
    }


def described(group: GroupState, active: Active) -> list[dict[str, Any]]:
    """Return a group's targets as JSON-able values."""
    residents = count_residents(active.residences.values(), group.relief.settings.assumed)
    return [describe(state, residents.get(state.id, NOBODY)) for state in group.targets.values()]


def describe(state: TargetState, residents: Residents) -> dict[str, Any]:
    """Return a target as JSON-able values."""
    return {
        "name": state.id,
        "address": str(state.target.address),
        "health": state.health.value,
        "detail": state.health_detail,
        "weight": state.target.weight,
        "effective_weight": round(state.weight, 3),
        "is_backup": state.target.is_backup,
        "is_terminating": state.target.is_terminating,
        "is_serving": state.takes_sticky and state.health is not Health.DRAINING,
        "in_flight": state.in_flight,
        "queued": state.queued,
        "requests": state.requests,
        "errors": state.errors,
        "sessions": residents.portable + residents.pinned.total(),
        "portable": residents.portable,
        "pinned": residents.pinned.total(),
        "pinned_by": dict(residents.pinned),
        "last_pinned_idle_s": round(residents.last_pinned_idle_s, 1),
    }
