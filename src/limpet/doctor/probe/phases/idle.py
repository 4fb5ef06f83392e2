"""Phase 6, on request: a session that is left alone, beside one that is touched now and then.

Which of them dies, and at what age, tells an idle limit from a lifetime that nothing renews.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.probe.phases.login import log_in

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.run import LoggedIn, Run

_TOUCHES = 12
_MAX_PAUSE_S = 60.0
_LOOKS = 8


async def idle(run: Run) -> None:
    """Wait, and see which sessions are still there."""
    if not run.plan.idle_s or not run.sessions:
        return
    touched = await log_in(run) or run.sessions[0]
    alone = await log_in(run) or run.sessions[-1]
    if touched is alone:
        return
    run.tell(f"leaving a session alone for {run.plan.idle_s:.0f} s")
    # Both were in just now: what is lost later was lost by waiting.
    await run.browse(alone, 2, kind=ArmKind.IDLE, note="before")
    await _touch(run, touched)
    run.tell("looking at the session that was left alone")
    await run.browse(alone, _LOOKS, kind=ArmKind.IDLE, note="after")
    run.record.tested.add("idle")


async def _touch(run: Run, session: LoggedIn) -> None:
    ends_s = time.monotonic() + run.plan.idle_s
    pause_s = min(run.plan.idle_s / _TOUCHES, _MAX_PAUSE_S)
    visits: list[Visit] = []
    oracle = run.record.oracle()
    try:
        while (left_s := ends_s - time.monotonic()) > 0 and run.left > _LOOKS:
            await asyncio.sleep(min(pause_s, left_s))
            visits.append((await session.visitor.go(run.url))[1])
            if oracle is not None and oracle.outcome(visits[-1]) is Outcome.OUT:
                visits += [(await session.visitor.go(run.url))[1] for _ in range(3)]
                break
    finally:
        run.add(ArmKind.TOUCHED, session.number, visits)
