"""Which request of a pinned session goes elsewhere, and whether the session goes with it.

Theory of operation. Two loops. The fast one looks at requests in flight: what comes to a target above its
bound is *lent*, if its session is portable: another target serves this one request, and the session
stays at home. So a burst is spread at once and costs no home. The slow one looks at the demand of
each target's sessions: while it is above the target's share, sessions *move*: at the beginning of a
request, when no other of theirs is in flight, those first that have been idle for longest, as many as
the budget allows.

A session that is pinned, or of which nothing is known, stays. Nothing goes to a target of another
fingerprint, for it would know nobody, and nothing at all while a target says that its store does not
answer: whoever is at home may still be served from what is remembered there.

The signal for a destination is requests in flight first, then the time targets take to answer.
Source: Wydrowski et al., "Load is not what you should balance: Introducing Prequal", NSDI 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from limpet.core.relief.bound import SLACK, cap
from limpet.core.relief.budget import Budget
from limpet.core.relief.demand import Demand
from limpet.core.relief.settings import Assumed, ReliefSettings
from limpet.core.stickiness.contract import StickyStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.active_sessions import ActiveSession
    from limpet.core.model import TargetGroup
    from limpet.core.target import TargetState

#: How long nothing moves after a target has said that its store does not answer.
STORE_DOWN_S = 5.0
#: How often demands are measured, and how old a bound may be when it decides.
MEASURE_S = 1.0
BOUND_S = 0.01
#: Reckoning bounds takes this long for each target and more; it may take a small part of all time.
_BOUND_OF_EACH_S = 2e-5
#: Above this excess the whole budget is spent; below it a twenty-fifth.
_FAR = 0.1
_NEAR_PART = 0.04
#: The first that leave a target have been idle for so long; it halves with each measurement.
_FIRST_IDLE_S = 8.0
_LAST_IDLE_S = 0.25
#: Of many targets so many are asked whether they would do, and the best of so many of those is taken: the
#: best of a few is nearly as good as the best, and costs the same however many there are.
_ASKED = 64
_LOOKED_AT = 8


_USUAL = ReliefSettings()


class Relieved(NamedTuple):
    """What relief decided for one request.

    Attributes:
        target: serves it.
        status: LENT, MOVED or TARGET_LEAVING; with the first the session stays at home.
        why: a word for `Limpet-Moved`.
    """

    target: TargetState
    status: StickyStatus
    why: str


class Relief:
    """The books of one target group; they outlive a snapshot."""

    def __init__(self, settings: ReliefSettings = _USUAL) -> None:
        self.settings = settings
        self._demand = Demand()
        self._budget = Budget()
        self._idle_s: dict[TargetState, float] = {}
        self._measured_s = 0.0
        self._bounded_s = 0.0
        self._store_down_until_s = 0.0

    def tick(self, group: TargetGroup, now_s: float) -> None:
        """Let time pass; called a few times a second whether requests come or not.

        Args:
            now_s: monotonic.
        """
        if not self.settings.is_on:
            return
        self._bound(group, now_s)
        if now_s - self._measured_s < MEASURE_S:
            return
        self._measured_s = now_s
        demand = self._demand
        demand.measure([target for target in group.by_id.values() if target.takes_sticky], now_s)
        part = 1.0 if demand.worst_excess > _FAR else _NEAR_PART
        moves_per_s = part * self.settings.moves_per_minute * len(group.sessions) / 60
        self._budget.fill(moves_per_s, now_s)
        before = self._idle_s
        self._idle_s = {
            target: before[target] / 2 if target in before else _FIRST_IDLE_S for target in demand.surplus
        }
        self._mark(group)

    def store_failed(self, now_s: float) -> None:
        """Note that a target's store does not answer."""
        self._store_down_until_s = now_s + STORE_DOWN_S

    def for_new(self, targets: tuple[TargetState, ...]) -> tuple[TargetState, ...]:
        """Return those of `targets` that should get new sessions; all if none should."""
        if not self.settings.is_on:
            return targets
        surplus = self._demand.surplus
        below = tuple([each for each in targets if each.in_flight < each.cap_here])
        return tuple([each for each in below if each not in surplus]) or below or targets

    def relieve(
        self, group: TargetGroup, session: ActiveSession, home: TargetState, now_s: float, rng: Random
    ) -> Relieved | None:
        """Decide whether a request of a session goes elsewhere.

        Args:
            home: where it is pinned, and could be served.
            now_s: monotonic.

        Returns:
            None if it stays.
        """
        if not self._may_leave(session, now_s):
            return None
        if home.target.is_terminating:
            goal = self._lightest(self._goals(group, session, home, rng), rng)
            return Relieved(goal, StickyStatus.TARGET_LEAVING, "drain") if goal is not None else None
        if not self.settings.is_on:
            return None
        if home in self._demand.surplus and not session.in_flight:
            goal = self._new_home(group, session, home, now_s, rng)
            if goal is not None:
                return Relieved(goal, StickyStatus.MOVED, "balance")
        if home.in_flight <= home.cap_here:
            return None
        if now_s - self._bounded_s > max(BOUND_S, _BOUND_OF_EACH_S * len(group.by_id)):
            self._bound(group, now_s)
            if home.in_flight <= home.cap_here:
                return None
        goal = self._lightest(self._goals(group, session, home, rng), rng)
        # Further down by more than chance: to lend from one full target to another helps nobody.
        if goal is None or goal.load + SLACK > home.load:
            return None
        return Relieved(goal, StickyStatus.LENT, "overload")

    def may_serve(self, session: ActiveSession | None, target: TargetState) -> bool:
        """Whether a target reads the store that a session is in, as far as is known."""
        if session is None or session.state is None or not session.state.fingerprint:
            return True
        return self.settings.assumed is Assumed.PORTABLE or target.fingerprint == session.state.fingerprint

    def readers(
        self, session: ActiveSession | None, home: TargetState | None, targets: Sequence[TargetState]
    ) -> Sequence[TargetState]:
        """Return those of `targets` that can go on with a session whose home cannot serve it.

        They read the store that its home does; if none is known to, those of which nothing is known; else
        all. Not what its last answer came from counts first: that may have been served elsewhere because
        nobody else could, while the client's ticket and its session cookie came from home.

        Args:
            session: None if this process has not seen it yet.
            home: None if it is not registered any more.
        """
        if self.settings.assumed is Assumed.PORTABLE:
            return targets
        wanted = home.fingerprint if home is not None else ""
        if session is not None and not wanted:
            wanted = session.state.fingerprint if session.state is not None else ""
            wanted = wanted or session.target.fingerprint
        if not wanted:
            return targets
        equal = [each for each in targets if each.fingerprint == wanted]
        return equal or [each for each in targets if not each.fingerprint] or targets

    def is_portable(self, session: ActiveSession) -> bool:
        """Whether a session may be served elsewhere."""
        assumed = self.settings.assumed
        if assumed is Assumed.AUTO:
            return session.is_portable
        return assumed is Assumed.PORTABLE and not session.tunnels

    def _may_leave(self, session: ActiveSession, now_s: float) -> bool:
        return now_s >= self._store_down_until_s and self.is_portable(session)

    def _goals(
        self, group: TargetGroup, session: ActiveSession, home: TargetState, rng: Random
    ) -> list[TargetState]:
        if not self.may_serve(session, home):
            return []  # its last answer came from another store, before it was placed at this home
        asked: Sequence[TargetState] = group.available
        if len(asked) > _ASKED:
            asked = rng.sample(asked, _ASKED)
        return [each for each in asked if each is not home and self.may_serve(session, each)]

    def _lightest(self, goals: list[TargetState], rng: Random) -> TargetState | None:
        if len(goals) > _LOOKED_AT:
            goals = rng.sample(goals, _LOOKED_AT)
        return min(goals, key=_burden, default=None)

    def _new_home(
        self, group: TargetGroup, session: ActiveSession, home: TargetState, now_s: float, rng: Random
    ) -> TargetState | None:
        demand = self._demand
        idle_s = self._idle_s.get(home, _FIRST_IDLE_S)
        if idle_s > _LAST_IDLE_S and now_s - session.seen_s < idle_s:
            return None
        rate = session.rate(now_s)
        # Half of it at least must fit on either side, or it would only swap the two.
        if rate / 2 > demand.surplus[home]:
            return None
        goals = [
            each
            for each in self._goals(group, session, home, rng)
            if demand.room(each) > rate / 2 and each.in_flight < each.cap_here
        ]
        if len(goals) > _LOOKED_AT:
            goals = rng.sample(goals, _LOOKED_AT)
        if not goals or not self._budget.spend():
            return None
        goal = max(goals, key=lambda each: demand.room(each) / (each.weight or 1))
        demand.move(rate, home, goal)
        if home not in demand.surplus:
            home.sheds = home.target.is_terminating
        return goal

    def _bound(self, group: TargetGroup, now_s: float) -> None:
        self._bounded_s = now_s
        targets = group.available
        total = sum(target.load for target in targets)
        weights = sum(target.weight for target in targets) or 1.0
        for target in group.by_id.values():
            whole = cap(total, target.weight / weights, self.settings.max_excess)
            target.cap_here = whole - (target.load - target.in_flight)

    def _mark(self, group: TargetGroup) -> None:
        surplus = self._demand.surplus
        for target in group.by_id.values():
            target.sheds = target in surplus or target.target.is_terminating


def _burden(target: TargetState) -> tuple[float, float]:
    return target.load / (target.weight or 1), target.response_s
