"""Rendezvous hashing with bounded loads: a key's first target that is not too busy.

No target takes more than `load_bound` times its fair share of the requests in flight; a key
whose target is full goes to the next of its own order, so that a full target's keys spread over
all others instead of toppling one neighbour. Trade-off: a key may move while its target is busy.

Source: V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent Hashing with Bounded Loads",
arXiv 1608.01350; the spreading as in arXiv 1908.08762.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from limpet.core.balancing.rendezvous import hash_key, score

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.balancing.policy import PolicySettings
    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState


class BoundedRendezvous:
    """The first target of the key's order that stays within its bound."""

    name = "bounded_rendezvous"

    def __init__(self, settings: PolicySettings) -> None:
        self._header = settings.hash_header
        self._load_bound = settings.load_bound

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose the key's first target with room; there always is one, because the bound is above 1."""
        del now, rng
        key = hash_key(request, self._header)
        loads = [target.load for target in targets]
        in_flight = 1 + sum(loads)  # with this request
        per_weight = self._load_bound * in_flight / sum([target.weight for target in targets])
        roomy = [target for target in targets if target.in_flight + 1 <= ceil(per_weight * target.weight)]
        return max(roomy, key=lambda target: score(key, target.id, target.weight))

    def charge(self, target: TargetState) -> None:
        """Do nothing: a pinned request is in flight and counts by that."""
