"""Least outstanding requests: the target with the fewest requests in flight for its weight.

Pinned requests count by being in flight. Ties, which are the rule on an idle site, are broken
by chance in proportion to the weights: always taking the first would send every lone request
to one target. Trade-off: a target that fails fast looks idle; health checks must catch it.
Source: ALB's `least_outstanding_requests`.
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


class LeastOutstandingRequests:
    """Fewest requests in flight per weight."""

    name = "least_outstanding_requests"

    def __init__(self, settings: PolicySettings) -> None:
        del settings

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose the least loaded; among equals by chance."""
        del request, now
        loads = [target.load / target.weight for target in targets]
        least = min(loads)
        idlest = [target for target, load in zip(targets, loads, strict=True) if load == least]
        if len(idlest) == 1:
            return idlest[0]
        return rng.choices(idlest, [target.weight for target in idlest])[0]

    def charge(self, target: TargetState) -> None:
        """Do nothing: a pinned request is in flight and counts by that."""
