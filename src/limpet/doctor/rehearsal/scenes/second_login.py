"""Somebody logs in on a second device: is the first one still in?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal


async def play(rehearsal: Rehearsal) -> None:
    """Log in twice as the same user."""
    await rehearsal.stage.use(stickiness=rehearsal.calm)
    first = await rehearsal.log_in()
    rehearsal.arms.append(await rehearsal.row(ArmKind.JAR, first, 3))
    await rehearsal.log_in()
    rehearsal.arms.append(await rehearsal.row(ArmKind.JAR, first, 3, note="after the second login"))
