"""Rendezvous hashing: every key has its own order of the targets, and goes to the first.

A target that joins or leaves moves only the keys that are or were its own. Weights by the
logarithmic method: a target's score is -weight / ln(hash), so that doubling a weight doubles a
share. No table and no state: balancers and restarts agree. Trade-off: O(targets) per pick, and
a popular key (an office behind one address) stays on one target whatever its load.

Source: D. Thaler and C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates",
IEEE/ACM ToN 6(1), 1998; J. Resch, "New Hashing Algorithms for Data Storage", SNIA SDC 2015.
"""

from __future__ import annotations

from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from limpet.core.balancing.policy import PolicySettings
    from limpet.core.clock import Now
    from limpet.core.request import RequestHead
    from limpet.core.target import TargetState


class Rendezvous:
    """The target with the highest score for the request's key."""

    name = "rendezvous"

    def __init__(self, settings: PolicySettings) -> None:
        self._header = settings.hash_header

    def pick(
        self, targets: Sequence[TargetState], request: RequestHead, now: Now, rng: Random
    ) -> TargetState:
        """Choose the key's first target."""
        del now, rng
        key = hash_key(request, self._header)
        return max(targets, key=lambda target: score(key, target.id, target.weight))

    def charge(self, target: TargetState) -> None:
        """Do nothing: a key's target does not depend on what others do."""


def hash_key(request: RequestHead, header: bytes | None) -> bytes:
    """Return what is hashed of a request: a header's value, or else the client's address."""
    value = request.header(header) if header is not None else None
    return value or request.client_ip.encode()


def score(key: bytes, target_id: str, weight: float) -> float:
    """Return the score of a target for a key; higher is better.

    Args:
        weight: above 0.
    """
    name = target_id.encode()
    digest = blake2b(b"%d:%b%b" % (len(name), name, key), digest_size=8, person=b"limpet rendezvo").digest()
    uniform = ((int.from_bytes(digest) >> 12) + 0.5) / 2**52  # strictly between 0 and 1, exactly
    return -weight / log(uniform)
