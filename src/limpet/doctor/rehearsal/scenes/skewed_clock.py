"""One replica's clock is ahead: does a session that begins there exist elsewhere?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal

#: What a machine without NTP is off after some weeks.
SKEW_S = 60.0


async def play(rehearsal: Rehearsal) -> None:
    """Log in where the clock is ahead, and visit the others."""
    stage = rehearsal.stage
    if not rehearsal.is_shared:
        return
    fast, *others = stage.first
    await stage.set_clock(fast, SKEW_S)
    try:
        await stage.use(members=(fast,))
        session = await rehearsal.log_in()
        rehearsal.logins.pop()  # its times are wrong, and would be taken for the servers' own
        before = await rehearsal.row(ArmKind.FROZEN, session, 2)
        await stage.use(members=tuple(others))
        after = await rehearsal.row(ArmKind.JAR, session, 2 * len(others))
        await stage.use(members=(fast,))
        fresh = await rehearsal.row(ArmKind.FROZEN, session, 2, note="back where it began")
    finally:
        await stage.set_clock(fast, 0.0)
    rehearsal.trials.append(
        Trial(kind=TrialKind.SKEWED_CLOCK, before=before, after=after, fresh=fresh, note=f"{SKEW_S:g} s")
    )
