"""The session store is away for two seconds: an error page is bearable, a logout is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Arm, ArmKind, Outcome, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.rehearsal.rehearsal import Rehearsal, Session

_AWAY_S = 2.0
_VISITS = 4
#: How long pools of connections may take to notice that the store is back.
_RECOVERY_S = 15.0


async def play(rehearsal: Rehearsal) -> None:
    """Take the store away, and bring it back."""
    if not any(relay.connections for relay in rehearsal.relays):
        return
    await rehearsal.stage.use(stickiness=rehearsal.calm)
    session = await rehearsal.log_in()
    before = await rehearsal.row(ArmKind.JAR, session, 2)
    for relay in rehearsal.relays:
        relay.cut()
    try:
        during = await _away(rehearsal, session)
    finally:
        for relay in rehearsal.relays:
            relay.mend()
    await _until_back(rehearsal)
    after = await rehearsal.row(ArmKind.JAR, session, 3)
    fresh = await rehearsal.row(ArmKind.FROZEN, session, 3, note="the cookies from before")
    rehearsal.trials.append(
        Trial(kind=TrialKind.STORE_STOPPED, before=before, during=during, after=after, fresh=fresh)
    )


async def _away(rehearsal: Rehearsal, session: Session) -> Arm:
    visits: list[Visit] = []
    for _ in range(_VISITS):
        began_s = rehearsal.site.now_s()
        visits.append(await rehearsal.visit(ArmKind.JAR, session))
        await asyncio.sleep(max(_AWAY_S / _VISITS - (rehearsal.site.now_s() - began_s), 0))
    return Arm(kind=ArmKind.JAR, login=session.number, visits=tuple(visits))


async def _until_back(rehearsal: Rehearsal) -> None:
    # Whether it is back is asked with sessions of its own: a lost one tells nothing.
    end_s = rehearsal.site.now_s() + _RECOVERY_S
    row = 0
    while row < len(rehearsal.stage.first) and rehearsal.site.now_s() < end_s:
        other = await rehearsal.log_in()
        rehearsal.logins.pop()
        visit = await rehearsal.visit(ArmKind.JAR, other)
        row = row + 1 if visit.outcome is Outcome.IN else 0
        await asyncio.sleep(0.2 if not row else 0)
