"""What a run is going to do; decided before the first request, so that it can be shown and agreed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limpet.doctor.probe.login.way import LoginWay


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests each phase makes."""

    fan_out: int = 20
    honoured: int = 10
    replayed: int = 10
    kept: int = 5
    jar: int = 30
    frozen: int = 30
    app_only: int = 20
    confirm: int = 24
    other_agent: int = 3
    bursts: int = 3
    burst: int = 8


QUICK = Counts(
    fan_out=8,
    honoured=4,
    replayed=4,
    kept=0,
    jar=12,
    frozen=12,
    app_only=8,
    confirm=8,
    other_agent=2,
    bursts=1,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is going to do.

    Attributes:
        url: a page that differs when logged in.
        also: further pages of the site, to be visited in between.
        addresses: IP addresses to ask one by one; what DNS says if empty.
        idle_s, watch_s: 0 for not at all.
        may_freeze_brought: whether a session that was brought along may be replayed.
        settles_s: how long after a login its youth is over.
    """

    url: str
    way: LoginWay | None = None
    also: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    counts: Counts = Counts()
    idle_s: float = 0.0
    watch_s: float = 0.0
    may_freeze_brought: bool = False
    settles_s: float = 5.5

    @property
    def may_freeze(self) -> bool:
        """Whether cookies may be replayed unchanged."""
        return self.way is not None and (self.way.is_repeatable or self.may_freeze_brought)

    def steps(self) -> Iterator[str]:
        """Give the run's steps, a sentence each."""
        counts = self.counts
        yield f"read {self.url} once, and two pages that it links to"
        anonymous = counts.fan_out + counts.honoured + counts.replayed + counts.kept
        yield f"visit it up to {anonymous} times without logging in"
        if self.way is None:
            yield "no login was given: only what shows without one"
            return
        if self.way.is_repeatable:
            yield f"log in 2 to 4 times ({self.way.name}), and stop if the site refuses"
        else:
            yield f"use the session that was brought ({self.way.name})"
        yield f"visit it as a browser, {counts.jar} times"
        if self.may_freeze:
            most = counts.frozen + counts.app_only + 2 * counts.confirm
            yield f"visit it with unchanged cookies, {counts.frozen} to {most} times"
        yield f"visit it in parallel, {counts.bursts} times {counts.burst}"
        if self.idle_s:
            yield f"leave a session alone for {self.idle_s:.0f} s, and touch another meanwhile"
        if self.watch_s:
            yield f"visit it every few seconds for {self.watch_s:.0f} s"
