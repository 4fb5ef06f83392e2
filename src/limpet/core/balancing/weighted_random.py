"""Weighted random: each pick falls on a target with a probability in proportion to its weight.

It has no books, so balancers need not agree and pinned requests leave no trace. Trade-off:
short runs are uneven; with n picks a target's share is off by about the square root of n.
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


class WeightedRandom:
    """Weighted random choice."""

    name = "weighted_random"

    def __init__(self, settings: PolicySettings) -> None:
        del settings

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose by chance."""
        del request, now
        return rng.choices(targets, [target.weight for target in targets])[0]

    def charge(self, target: TargetState) -> None:
        """Do nothing: chance keeps no books."""
