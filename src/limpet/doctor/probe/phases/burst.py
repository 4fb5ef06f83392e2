"""Phase 5: a browser's parallel requests, as a page that loads its parts makes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.probe.visitor import cookie_header

if TYPE_CHECKING:
    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.run import LoggedIn, Run

_AFTER = 5


async def burst(run: Run) -> None:
    """Visit the page many times at once, and look whether the session survives."""
    session = _alive(run)
    if session is None:
        return
    run.tell("visiting in parallel")
    visits: list[Visit] = []
    try:
        for _ in range(run.plan.counts.bursts):
            cookies = session.visitor.cookies_for(run.url)
            visits += await asyncio.gather(
                *(_one(run, session, cookies) for _ in range(run.plan.counts.burst))
            )
    finally:
        run.add(ArmKind.BURST, session.number, visits)
    run.record.tested.add("burst")
    await run.browse(session, _AFTER, note="after the burst")


async def _one(run: Run, session: LoggedIn, cookies: list[StoredCookie]) -> Visit:
    # All send what the browser held before; it obeys the answers in the order in which they come.
    reply = await run.client.send(run.url, headers=cookie_header(cookies))
    session.visitor.obey(reply)
    return run.observer.visit(reply, sent=cookies, since_login_s=session.visitor.age_s(reply))


def _alive(run: Run) -> LoggedIn | None:
    # A browser that was in at its last visit.
    for session in run.sessions:
        arms = [arm for arm in run.record.arms if arm.kind is ArmKind.JAR and arm.login == session.number]
        if arms and run.record.judged(arms[-1]).visits[-1].outcome is Outcome.IN:
            return session
    return None
