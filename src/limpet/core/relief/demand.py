"""What the sessions of each target ask of it in the long run, beside its fair share.

Demand counts the requests of the sessions that are *at home* at a target, wherever each was served, so
that lending single requests does not hide that too many sessions live in one place. It is a mean
that forgets: of a steady demand d it has the standard deviation sqrt(d / 2T) by chance alone, and
nobody is moved for chance.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.core.target import TargetState

#: T; how fast the mean forgets.
MEAN_S = 15.0
#: Relief begins so far above the share (and so many standard deviations), and goes on until the lower ones.
_BEGIN, _BEGIN_DEVIATIONS = 0.04, 2.0
_END, _END_DEVIATIONS = 0.01, 0.5
#: Nor does it begin for less than this, in requests per second: it would not be felt.
_LEAST = 1.0


class Demand:
    """Demands of one group's targets, in requests per second.

    Attributes:
        surplus: what a target has above its share, of those that are to be relieved.
        worst_excess: the largest surplus, as a part of its share.
    """

    def __init__(self) -> None:
        self.surplus: dict[TargetState, float] = {}
        self.worst_excess = 0.0
        self._rates: dict[TargetState, float] = {}
        self._counts: dict[TargetState, int] = {}
        self._total = 0.0  # of the rates
        self._shares: dict[TargetState, float] = {}
        self._at_s: float | None = None

    def measure(self, targets: Iterable[TargetState], now_s: float) -> None:
        """Take in what was asked since the last time, and say who is to be relieved.

        Args:
            targets: all that can have sessions; those of no weight have no share.
            now_s: monotonic.
        """
        counts = {target: target.requests - target.borrowed + target.lent for target in targets}
        before_s, self._at_s = self._at_s, now_s
        old, self._counts = self._counts, counts
        if before_s is None or now_s <= before_s:
            return
        passed_s = now_s - before_s
        kept = exp(-passed_s / MEAN_S)
        self._rates = {
            target: self._rates.get(target, 0.0) * kept
            + max(count - old.get(target, count), 0) / passed_s * (1 - kept)
            for target, count in counts.items()
        }
        self._total = sum(self._rates.values())
        weights = sum(target.weight for target in counts) or 1.0
        self._shares = {target: target.weight / weights for target in counts}
        self._judge()

    def fair(self, target: TargetState) -> float:
        """Return a target's share of all demand."""
        return self._shares.get(target, 0.0) * self._total

    def room(self, target: TargetState) -> float:
        """Return how far a target is below its share; negative above it."""
        return self.fair(target) - self._rates.get(target, 0.0)

    def move(self, rate: float, origin: TargetState, target: TargetState) -> None:
        """Note that a session of so many requests per second has got another home."""
        rate = min(rate, self._rates.get(origin, 0.0))
        self._rates[origin] = self._rates.get(origin, 0.0) - rate
        self._rates[target] = self._rates.get(target, 0.0) + rate
        if origin in self.surplus:
            self.surplus[origin] -= rate
            if self.surplus[origin] <= 0:
                del self.surplus[origin]

    def _judge(self) -> None:
        surplus = {}
        worst = 0.0
        for target, rate in self._rates.items():
            fair = self.fair(target)
            excess = rate - fair
            deviation = sqrt(fair / (2 * MEAN_S))
            if target in self.surplus:
                limit = max(_END * fair, _END_DEVIATIONS * deviation)
            else:
                limit = max(_BEGIN * fair, _BEGIN_DEVIATIONS * deviation, _LEAST)
            if excess > limit:
                surplus[target] = excess
                worst = max(worst, excess / fair if fair else excess)
        self.surplus = surplus
        self.worst_excess = worst
