"""Phase 7, on request: a browser that looks every few seconds while somebody deploys or scales."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.probe.phases.login import log_in

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.run import LoggedIn, Run

_PAUSE_S = 2.0
_LEFT_OVER = 20
_OUT_FOR_GOOD = 6
_FRESH = 4


async def watch(run: Run) -> None:
    """Look until the time is over, or the session is gone for good; then log in once more."""
    if not run.plan.watch_s or not run.sessions:
        return
    session = await log_in(run) or run.sessions[-1]
    run.tell(f"watching for {run.plan.watch_s:.0f} s; deploy or scale now")
    is_gone = await _look(run, session)
    run.record.tested.add("watch")
    if is_gone:
        fresh = await log_in(run)
        if fresh is not None:
            await run.browse(fresh, _FRESH, kind=ArmKind.WATCH, note="new login")


async def _look(run: Run, session: LoggedIn) -> bool:
    ends_s = time.monotonic() + run.plan.watch_s
    least_s = _PAUSE_S if run.plan.watch_s > 30 else _PAUSE_S / 8
    pause_s = max(least_s, run.plan.watch_s / max(run.left - _LEFT_OVER, 1))
    visits: list[Visit] = []
    oracle = run.record.oracle()
    outs = 0
    try:
        while time.monotonic() < ends_s and outs < _OUT_FOR_GOOD and run.left > _LEFT_OVER:
            visits.append((await session.visitor.go(run.url))[1])
            outcome = oracle.outcome(visits[-1]) if oracle else Outcome.NEITHER
            outs = outs + 1 if outcome is Outcome.OUT else 0
            await asyncio.sleep(pause_s)
    finally:
        run.add(ArmKind.WATCH, session.number, visits)
    return outs >= _OUT_FOR_GOOD
