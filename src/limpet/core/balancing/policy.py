"""The contract of a balancing policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState


class Policy(Protocol):
    """Chooses the target of a request that is not pinned.

    One instance serves one target group and survives reloads; its books are keyed by target
    id. A policy sees only targets that may take the request, each with `weight` > 0, and it
    reads nothing of them but `id`, `weight` and `in_flight`.

    Attributes:
        name: as in the configuration and in `POLICIES`.
    """

    name: str

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose one of `targets` (at least one, in the order of the configuration)."""
        ...

    def charge(self, target: TargetState) -> None:
        """Note that a pinned request went to `target`, so that new sessions go elsewhere.

        Called for every sticky hit: it must cost O(1).
        """
        ...
