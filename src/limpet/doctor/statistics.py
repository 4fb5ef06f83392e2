"""How much a row of visits proves.

Only the arms are statistical, and every statistical verdict is confirmed on a second login, so one
level serves all: 99 %. Routing is taken to be independent from visit to visit; strict round robin is
kinder than that, a client pinned by its connection is not, which is why every visit has a fresh one.
"""

from __future__ import annotations

from math import ceil, comb, log

LEVEL = 0.01


def visits_to_meet(share: float) -> int:
    """Return how many visits meet a replica of a share of the traffic, with 99 %."""
    return 1 if share >= 1 else ceil(log(LEVEL) / log(1 - share))


def loss_bound(visits: int) -> float:
    """Return the loss per visit that is still possible, with 99 %, if none of so many visits was lost."""
    return 1.0 if visits <= 0 else 1 - float(LEVEL ** (1 / visits))


def loss_over(loss: float, visits: int) -> float:
    """Return the chance that one of so many visits is lost."""
    return float(1 - (1 - loss) ** visits)


def fisher_exact(table: tuple[tuple[int, int], tuple[int, int]]) -> float:
    """Return the one-sided probability of a table, or a more one-sided one, if rows do not matter.

    Args:
        table: rows are groups, columns are out and in; small means that the first row is out more often.
    """
    (a, b), (c, d) = table
    row, column, total = a + b, a + c, a + b + c + d
    if not total:
        return 1.0
    ways = comb(total, column)
    most = min(row, column)
    return sum(comb(row, k) * comb(total - row, column - k) for k in range(a, most + 1)) / ways
