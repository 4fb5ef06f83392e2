"""A browser asks for many things at once: ids that rotate and tokens that refresh must survive it.

First the page as it is; then, where a login has a cookie that ends before another one, as it is at the
moment when the short one has ended and every request tries to renew it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Arm, ArmKind, Outcome, Trial, TrialKind

if TYPE_CHECKING:
    from limpet.doctor.evidence import Visit
    from limpet.doctor.rehearsal.rehearsal import Rehearsal, Session

_AT_ONCE = 8
_ROUNDS = 2


async def play(rehearsal: Rehearsal) -> None:
    """Refresh in parallel."""
    await rehearsal.stage.use(stickiness=rehearsal.calm)
    session = await rehearsal.log_in()
    before = await rehearsal.row(ArmKind.JAR, session, 3)
    visits: list[Visit] = []
    for _ in range(_ROUNDS):
        visits += await _burst(rehearsal, session)
    during = Arm(kind=ArmKind.BURST, login=session.number, visits=tuple(visits))
    after = await rehearsal.row(ArmKind.JAR, session, 3, note="after the burst")
    rehearsal.arms += [during, after]
    rehearsal.trials.append(Trial(kind=TrialKind.PARALLEL_REFRESH, before=before, during=during, after=after))
    await _renew(rehearsal)


async def _burst(rehearsal: Rehearsal, session: Session) -> tuple[Visit, ...]:
    asked = [session.browser.ask("GET", rehearsal.page) for _ in range(_AT_ONCE)]
    answers = await asyncio.gather(*asked)
    age_s = rehearsal.site.now_s() - session.at_s
    return tuple(replace(answer.visit, since_login_s=age_s) for answer in answers)


async def _renew(rehearsal: Rehearsal) -> None:
    alone = await rehearsal.log_in()
    short = _shortest(alone)
    if not short:
        return
    alone.browser.drop(short)
    first = await rehearsal.row(ArmKind.JAR, alone, 2)
    if first.visits[-1].outcome is not Outcome.IN:
        return  # nothing renews it, one request or many
    session = await rehearsal.log_in()
    session.browser.drop(short)
    during = Arm(kind=ArmKind.BURST, login=session.number, visits=await _burst(rehearsal, session))
    after = await rehearsal.row(ArmKind.JAR, session, 3)
    rehearsal.trials.append(
        Trial(kind=TrialKind.PARALLEL_RENEWAL, before=first, during=during, after=after, note=short)
    )


def _shortest(session: Session) -> str:
    # A browser's end comes before every date.
    lives = {fact.name: fact.lifetime_s or 0.0 for fact in session.browser.cookies}
    if len(set(lives.values())) < 2:
        return ""
    return min(lives, key=lambda name: lives[name])
