"""What is counted of sessions: where they live, what moved them, and who may have been logged out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limpet.core.active_sessions import TUNNEL, Residence
from limpet.core.relief.settings import why_pinned
from limpet.core.stickiness.contract import StickyStatus
from limpet.proxy.counters import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limpet.core.relief.settings import Assumed
    from limpet.proxy.counters import Outcome

#: Sticky statuses of the first request that a session's new home got, by what drove it there.
MOVES = {
    StickyStatus.MOVED: "balance",
    StickyStatus.TARGET_LEAVING: "drain",
    StickyStatus.TARGET_DRAINING: "drain",
    StickyStatus.TARGET_UNAVAILABLE: "unavailable",
    StickyStatus.TARGET_GONE: "gone",
}


@dataclass(slots=True)
class Residents:
    """The active sessions that are at home at one target.

    Attributes:
        portable: that any target could serve.
        pinned: that it alone can, by reason.
        last_pinned_idle_s: how long the latest of the pinned has been idle, those with an open tunnel
            left out, for which nobody can say when they end; 0 if there is none.
    """

    portable: int = 0
    pinned: Counter[str] = field(default_factory=Counter)
    last_pinned_idle_s: float = 0.0


NOBODY = Residents()


def count_residents(residences: Iterable[Residence], assumed: Assumed) -> dict[str, Residents]:
    """Return who lives where, by target id.

    Args:
        assumed: what the configuration says of the group's sessions.
    """
    # There may be a hundred thousand of them, and requests wait meanwhile: the loop does as little as it can.
    idle_s: dict[tuple[str, str], float] = {}  # of the one seen last, by target and what its session says
    numbers: dict[tuple[str, str], int] = {}
    for residence in residences:
        place = residence[:2]
        numbers[place] = numbers.get(place, 0) + 1
        if place not in idle_s or residence.idle_s < idle_s[place]:
            idle_s[place] = residence.idle_s
    return _residents(numbers, idle_s, assumed)


def _residents(
    numbers: Mapping[tuple[str, str], int], idle_s: Mapping[tuple[str, str], float], assumed: Assumed
) -> dict[str, Residents]:
    found: dict[str, Residents] = {}
    pinned_idle_s: dict[str, float] = {}
    for (target_id, said), number in numbers.items():
        residents = found.setdefault(target_id, Residents())
        last_s = idle_s[target_id, said]
        why = why_pinned(Residence(target_id, said, last_s), assumed)
        if not why:
            residents.portable += number
            continue
        residents.pinned[why] += number
        if why != TUNNEL:
            pinned_idle_s[target_id] = min(pinned_idle_s.get(target_id, last_s), last_s)
            residents.last_pinned_idle_s = pinned_idle_s[target_id]
    return found


@dataclass(slots=True)
class SessionEvents:
    """What has happened to a group's sessions since the start.

    Attributes:
        moves: sessions that got another home, by cause.
        lent: requests that another target served while the session stayed at home.
        suspected_logouts: users who were in and seem to be out, by cause.
    """

    moves: Counter[str] = field(default_factory=Counter)
    lent: int = 0
    suspected_logouts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """Return them as JSON-able values."""
        return {
            "moves": dict(self.moves),
            "lent": self.lent,
            "suspected_logouts": dict(self.suspected_logouts),
        }


def session_events(rows: Mapping[Outcome, list[float]]) -> dict[str, SessionEvents]:
    """Return what has happened, by group."""
    found: dict[str, SessionEvents] = {}
    for outcome, row in rows.items():
        events = found.setdefault(outcome.group, SessionEvents())
        number = count(row)
        why = MOVES.get(outcome.sticky) if outcome.sticky is not None and outcome.target else None
        if why is not None:
            events.moves[why] += number
        if outcome.sticky is StickyStatus.LENT:
            events.lent += number
        if outcome.logout:
            events.suspected_logouts[outcome.logout] += number
    return found
