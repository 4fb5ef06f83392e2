"""A page that is slow while its user logs in: does it write the session from before the login back?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.doctor.evidence import ArmKind, Trial, TrialKind
from limpet.doctor.rehearsal.inside.orders import Orders

if TYPE_CHECKING:
    from limpet.doctor.rehearsal.rehearsal import Rehearsal

#: How much longer the page takes; the login fits into it with ease, and need not.
_DELAY_S = 1.5
_POLL_S = 0.02


async def play(rehearsal: Rehearsal) -> None:
    """Log in while a page is slow."""
    await rehearsal.stage.use(stickiness=rehearsal.calm)
    browser = rehearsal.site.new_browser()
    await browser.open(rehearsal.way.path if rehearsal.way.kind == "form" else rehearsal.page)
    await browser.ask("GET", rehearsal.page)
    slow = asyncio.create_task(browser.ask("GET", rehearsal.page, orders=Orders(delay_s=_DELAY_S)))
    is_delayed = await _until_delayed(rehearsal, slow)
    session = await rehearsal.log_in(browser)
    was_in_time = not slow.done()
    await slow
    if not is_delayed or not was_in_time:
        return
    after = await rehearsal.row(ArmKind.JAR, session, 3)
    rehearsal.trials.append(Trial(kind=TrialKind.SLOW_REQUEST, after=after))


async def _until_delayed(rehearsal: Rehearsal, slow: asyncio.Task[object]) -> bool:
    # The view must have begun, for it reads the session first.
    while not slow.done():
        for name in rehearsal.stage.first:
            if (await rehearsal.stage.facts(name)).delayed:
                return True
        await asyncio.sleep(_POLL_S)
    return False
