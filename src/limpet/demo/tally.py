"""What the crowd has met in one act: counts, and figures of the last seconds. Pure.

Theory of operation. The act is *settled* but for some seconds after its beginning and after each event:
how even the load is and how long a page takes are only kept for settled time, because every way of
balancing is uneven while a crowd pours in. Logouts and failures count always.
"""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: Figures of the last seconds are of so many.
WINDOW_S = 2.0
#: How long after an event the load is not settled.
SETTLING_S = 1.5
#: Fewer pages in a window say nothing about evenness.
_MIN_PAGES = 30
_MAX_TIMES = 50_000


class Page(NamedTuple):
    """A page as it was met."""

    at_s: float
    server: str
    took_ms: float


class Figures(NamedTuple):
    """An act in figures.

    Attributes:
        logouts: of people who had logged in and were not greeted, by cause.
        failures: pages that could not be had (503 and the like); nobody was logged out by them.
        busiest_to_mean: pages of the busiest server as a multiple of the mean, in the worst window of
            settled time; None before there was one.
        p99_ms: of pages in settled time; None before there was one.
    """

    pages: int
    logins: int
    logouts: dict[str, int]
    failures: int
    busiest_to_mean: float | None
    p99_ms: float | None


class Tally:
    """The books of one act.

    Args:
        now_s: monotonic, as everywhere here.
    """

    def __init__(self, now_s: float) -> None:
        self.pages = 0
        self.logins = 0
        self.failures = 0
        self.logouts: Counter[str] = Counter()
        self._settled_s = now_s + SETTLING_S
        self._last: deque[Page] = deque()
        self._last_logouts: deque[float] = deque()
        self._times: deque[float] = deque(maxlen=_MAX_TIMES)
        self._worst: float | None = None

    def page(self, page: Page) -> None:
        """Note a page."""
        self.pages += 1
        self._last.append(page)
        if page.at_s >= self._settled_s:
            self._times.append(page.took_ms)

    def logout(self, cause: str, now_s: float) -> None:
        """Note somebody who had logged in and was not greeted."""
        self.logouts[cause] += 1
        self._last_logouts.append(now_s)

    def unsettle(self, now_s: float, for_s: float = 0.0) -> None:
        """Note an event, which goes on for some time."""
        self._settled_s = max(self._settled_s, now_s + for_s + SETTLING_S)

    def settles_in(self, now_s: float) -> float:
        """Return how long it takes until the act is settled, if nothing happens meanwhile."""
        return max(self._settled_s - now_s, 0.0)

    def recent_logouts(self, now_s: float) -> int:
        """Return the logouts of the last `WINDOW_S`."""
        while self._last_logouts and self._last_logouts[0] < now_s - WINDOW_S:
            self._last_logouts.popleft()
        return len(self._last_logouts)

    def window(self, now_s: float) -> list[Page]:
        """Return the pages of the last `WINDOW_S`."""
        while self._last and self._last[0].at_s < now_s - WINDOW_S:
            self._last.popleft()
        return list(self._last)

    def tick(self, now_s: float, serving: Collection[str]) -> None:
        """Note how even the load was, if it has settled for a whole window.

        Args:
            serving: the servers that could have had pages.
        """
        if now_s - self._settled_s < WINDOW_S:
            return
        ratio = busiest_to_mean(self.window(now_s), serving)
        if ratio is not None:
            self._worst = max(ratio, self._worst or 0.0)

    def figures(self) -> Figures:
        """Return the act so far."""
        return Figures(
            pages=self.pages,
            logins=self.logins,
            logouts=dict(self.logouts),
            failures=self.failures,
            busiest_to_mean=self._worst,
            p99_ms=percentile(self._times, 99),
        )


def busiest_to_mean(pages: Iterable[Page], serving: Collection[str]) -> float | None:
    """Return the pages of the busiest server as a multiple of the mean; None of too few pages."""
    counts = Counter(page.server for page in pages if page.server in serving)
    total = counts.total()
    if total < _MIN_PAGES:
        return None
    return max(counts.values()) * len(serving) / total


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return a percentile by the nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[max(ceil(len(ordered) * percent / 100), 1) - 1]
