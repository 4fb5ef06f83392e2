"""How many requests a target may have in flight before it is relieved.

Consistent hashing with bounded loads gives each server at most (1 + e) times the mean. With few requests
in flight the mean is small and chance is large, so two requests above the share are always allowed.

Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", arXiv 1608.01350.
"""

from __future__ import annotations

from math import ceil

#: Requests above its share that relieve no target.
SLACK = 2


def cap(total: float, share: float, max_excess: float) -> float:
    """Return the requests that a target may have in flight.

    Args:
        total: requests in flight of the whole group.
        share: of the target; its weight by the sum of all.
        max_excess: e.
    """
    fair = total * share
    return max(ceil((1 + max_excess) * fair), fair + SLACK)
