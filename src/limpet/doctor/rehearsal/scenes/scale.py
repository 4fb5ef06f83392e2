"""One replica more, then one fewer: both shall be nothing that a user notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Scale up, and down."""
    stage = rehearsal.stage
    everyone = (*stage.first, stage.spare)
    await stage.use(stickiness=rehearsal.calm)
    session = await rehearsal.log_in()
    before = await rehearsal.row(ArmKind.JAR, session, 2)
    await stage.use(stickiness=rehearsal.calm, members=everyone)
    grown = await rehearsal.row(ArmKind.JAR, session, 2 * len(everyone))
    rehearsal.trials.append(Trial(kind=TrialKind.SCALE_UP, before=before, after=grown))
    session = await rehearsal.log_in()
    before = await rehearsal.row(ArmKind.JAR, session, 2)
    home = before.visits[-1].replica if rehearsal.calm != "off" else session.home
    left = tuple(name for name in everyone if name != home)
    await stage.use(stickiness=rehearsal.calm, members=left)
    shrunk = await rehearsal.row(ArmKind.JAR, session, 2 * len(left))
    rehearsal.trials.append(Trial(kind=TrialKind.SCALE_DOWN, before=before, after=shrunk, note=home))
