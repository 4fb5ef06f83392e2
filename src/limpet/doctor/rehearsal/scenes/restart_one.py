"""The replica that took a login is killed, as by the kernel when memory is short, and starts again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Kill the home of a session."""
    await rehearsal.stage.use(stickiness="lb_cookie")
    session = await rehearsal.log_in()
    before = await rehearsal.row(ArmKind.JAR, session, 2)
    home = before.visits[-1].replica
    killing = asyncio.create_task(rehearsal.stage.kill(home))
    try:
        during = await rehearsal.row(ArmKind.JAR, session, 3)
    finally:
        await killing
    after = await rehearsal.row(ArmKind.JAR, session, 3)
    rehearsal.trials.append(
        Trial(kind=TrialKind.RESTART_ONE, before=before, during=during, after=after, note=home)
    )
