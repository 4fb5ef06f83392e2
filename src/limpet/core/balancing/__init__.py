"""Policies: which target gets a request that is not pinned.

To add one: a file here, a line in `POLICIES`, a line in docs/configuration.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.balancing.bounded_rendezvous import BoundedRendezvous
from limpet.core.balancing.least_outstanding_requests import LeastOutstandingRequests
from limpet.core.balancing.power_of_two import PowerOfTwo
from limpet.core.balancing.rendezvous import Rendezvous
from limpet.core.balancing.round_robin import RoundRobin
from limpet.core.balancing.weighted_random import WeightedRandom

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.balancing.policy import Policy, PolicySettings

POLICIES: dict[str, Callable[[PolicySettings], Policy]] = {
    "round_robin": RoundRobin,
    "weighted_random": WeightedRandom,
    "least_outstanding_requests": LeastOutstandingRequests,
    "power_of_two": PowerOfTwo,
    "rendezvous": Rendezvous,
    "bounded_rendezvous": BoundedRendezvous,
}
