"""The contract of a balancing policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What a policy may be told; each reads what it knows.

    Attributes:
        hash_header: lower-case name of the header that the hashing policies hash; None for the
            client's address, which is also taken when a request lacks the header.
        load_bound: how far above its fair share `bounded_rendezvous` lets a target go; above 1.
    """

    hash_header: bytes | None = None
    load_bound: float = 1.25


class Policy(Protocol):
    """Chooses the target of a request that is not pinned.

    One instance serves one target group and survives reloads; its books are keyed by target
    id. A policy sees only targets that may take the request, each with `weight` > 0, and it
    reads nothing of them but `id`, `weight` and `load`.

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
