"""Rows of figures, and how they are printed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from lab.proxies import ANCHOR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Row = dict[str, Any]


def ratio_to_anchor(rounds: Iterable[Mapping[str, Row]], name: str, key: str) -> float | None:
    """Return the median over the rounds of a figure divided by the anchor's in the same round."""
    ratios = [one[name][key] / one[ANCHOR][key] for one in rounds if ANCHOR in one]
    return statistics.median(ratios) if ratios else None


def print_table(columns: Sequence[tuple[str, str]], rows: Sequence[Row]) -> None:
    """Print rows under their headings, figures to the right.

    Args:
        columns: (key in the rows, heading).
    """
    table = [[heading for _, heading in columns]]
    table += [[_text(row.get(key)) for key, _ in columns] for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    for line in table:
        cells = [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        print("  ".join(cells).rstrip())


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
