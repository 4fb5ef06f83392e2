"""The store's clock, as this process knows it: the one clock that all app servers share.

Grace periods are seconds, and clocks of servers can differ by minutes: a server that is ahead would
think a grace is over before it began, and log out who renews their id at that moment. So the store
is asked for the time now and then, together with something else.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_S = 60.0
#: A smaller difference is left alone; the answer itself takes time.
_TOLERATED_S = 1.0


class StoreClock:
    """Wall clock time of the store, by a monotonic clock, so that a clock that is set changes nothing.

    Until the store was asked it is our own wall clock.

    Args:
        wall_s: our wall clock.
        mono_s: a monotonic clock.
    """

    def __init__(
        self, wall_s: Callable[[], float] = time.time, mono_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall_s = wall_s
        self._mono_s = mono_s
        self._asked_s = -math.inf
        self._apart_s = 0.0  # our wall clock less the monotonic one, when the store was asked
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """Return the wall clock time of the store."""
        if self._asked_s == -math.inf:
            return self._wall_s()
        return self._mono_s() + self._apart_s + self._ahead_s

    @property
    def is_due(self) -> bool:
        """Whether to ask the store again: after a while, or when our clock was set or the machine slept."""
        mono_s = self._mono_s()
        has_jumped = abs(self._wall_s() - mono_s - self._apart_s) > _TOLERATED_S
        return mono_s >= self._asked_s + _EVERY_S or has_jumped

    def tell(self, theirs_s: float, since_s: float) -> None:
        """Take note of an answer.

        Args:
            theirs_s: the store's wall clock.
            since_s: our monotonic clock when it was asked.
        """
        mono_s = self._mono_s()
        self._apart_s = self._wall_s() - mono_s
        ahead_s = theirs_s - (self._apart_s + (since_s + mono_s) / 2)
        self._ahead_s = ahead_s if abs(ahead_s) > _TOLERATED_S else 0.0
        self._asked_s = mono_s
