"""Power of two choices: two different targets by chance, the less loaded of them.

Nearly as even as comparing all targets, and it does not herd: balancers that see the same stale
numbers still choose differently. Source: M. Mitzenmacher, "The Power of Two Choices in
Randomized Load Balancing", IEEE TPDS 12(10), 2001.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.balancing.policy import PolicySettings
    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState


class PowerOfTwo:
    """The less loaded of two random targets."""

    name = "power_of_two"

    def __init__(self, settings: PolicySettings) -> None:
        del settings

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose two in proportion to their weights, then the one with less in flight for its weight."""
        del request, now
        if len(targets) == 1:
            return targets[0]
        first = rng.choices(targets, [target.weight for target in targets])[0]
        others = [target for target in targets if target is not first]
        second = rng.choices(others, [target.weight for target in others])[0]
        return second if second.load / second.weight < first.load / first.weight else first

    def charge(self, target: TargetState) -> None:
        """Do nothing: a pinned request is in flight and counts by that."""
