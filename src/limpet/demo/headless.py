"""The story without a page: every mode meets the same events, and a row of figures each.

An act has three parts: people log in and read; a crowd comes while only A and B take new people, and
the load settles; A is killed. Its figures are those of `tally.Figures`, so the ones of the page.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

from limpet.demo.causes import Cause
from limpet.demo.crowd import ARRIVAL_S
from limpet.demo.modes import MODES
from limpet.demo.tally import WINDOW_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from limpet.demo.modes import Mode
    from limpet.demo.stage import Stage
    from limpet.demo.tally import Figures

#: How long A's death is watched at least: until it is back, too.
_AFTER_DEATH_S = 1.5
_QUIET_S = 0.5


class Row(NamedTuple):
    """One mode's figures.

    Attributes:
        quiet_logouts: before anything happened; of these, nobody can say that a server had died.
        death_logouts: because A was killed.
        other_logouts: all others after the first part.
        commands: that the store carried out for each page; None if it does not say, or was not asked.
    """

    mode: Mode
    people: int
    pages: int
    quiet_logouts: int
    death_logouts: int
    other_logouts: int
    failures: int
    busiest_to_mean: float | None
    p99_ms: float | None
    commands: float | None


async def tell_story(stage: Stage, modes: Iterable[str], watch_s: float) -> AsyncIterator[Row]:
    """Go through modes, by their names.

    Args:
        watch_s: how long settled load is watched, in each act.
    """
    for mode in modes:
        yield await _one(stage, MODES[mode], watch_s)


async def _one(stage: Stage, mode: Mode, watch_s: float) -> Row:
    await stage.begin(mode.name)
    await asyncio.sleep(ARRIVAL_S + _QUIET_S)
    quiet = sum(stage.act.tally.logouts.values())
    await stage.influx()
    await stage.settled()
    # Usually once; more often where servers come and go by themselves, for want of time.
    while (left_s := stage.act.tally.settles_in(time.monotonic() - WINDOW_S)) > 0:  # noqa: ASYNC110  # see above
        await asyncio.sleep(left_s)
    await asyncio.sleep(watch_s)
    await stage.tick()
    await stage.kill()
    await asyncio.sleep(_AFTER_DEATH_S)
    await stage.settled()
    await stage.tick()
    return row(mode, stage.act.tally.figures(), quiet, len(stage.crowd.people), stage.act.commands)


def row(mode: Mode, figures: Figures, quiet: int, people: int, commands: int | None) -> Row:
    """Return an act's figures as a row."""
    died = figures.logouts.get(Cause.DIED.value, 0)
    is_shared = mode.sessions == "store"
    return Row(
        mode=mode,
        people=people,
        pages=figures.pages,
        quiet_logouts=quiet,
        death_logouts=died,
        other_logouts=sum(figures.logouts.values()) - died - quiet,
        failures=figures.failures,
        busiest_to_mean=figures.busiest_to_mean,
        p99_ms=figures.p99_ms,
        commands=commands / figures.pages if is_shared and commands is not None and figures.pages else None,
    )
