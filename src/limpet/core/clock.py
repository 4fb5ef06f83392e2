"""The two clocks a decision may read."""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """One instant, told by both clocks.

    Attributes:
        wall_s: seconds since the epoch; for tickets and cookies only, because it may jump.
        mono_s: seconds of the monotonic clock; for every interval.
    """

    wall_s: float
    mono_s: float
