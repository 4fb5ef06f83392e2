"""Phase 4: the same page in several ways. Which ways lose the session is what the checks read.

The browser comes first, because it harms nothing. Cookies are replayed unchanged only if the browser's
were not renewed on ordinary visits: sites that renew them take the old ones for stolen.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from limpet.doctor.evidence import ArmKind, Outcome, Pattern
from limpet.doctor.probe.phases.login import log_in
from limpet.doctor.probe.safety import MAX_LOGINS

if TYPE_CHECKING:
    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import Arm
    from limpet.doctor.probe.run import LoggedIn, Run

#: A browser of another kind, for sites that bind sessions to it.
_OTHER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_LENIENT = 8
_INSIST = 6
_AT_ONCE = 8
_NONE = 5
_BUSTED = 8
_AFTER_SECOND = 3
_SETTLED = 14
_PER_ADDRESS = 5
_ADDRESSES = 4


async def arms(run: Run) -> None:
    """Log in and visit the page in every way that the plan allows."""
    first = await log_in(run)
    if first is None:
        return
    run.tell("visiting as a browser")
    browsed = await run.browse(first, run.plan.counts.jar)
    run.record.tested.add("jar")
    await _lenient(run, first)
    if not browsed.ins:
        await _insist(run, first)
    second = await log_in(run)
    if second is not None and browsed.ins:
        run.tell("looking at the first session again")
        await run.browse(first, _AFTER_SECOND, note="after the second login")
    if run.record.oracle() is not None and run.plan.may_freeze and not run.record.rotating():
        await _frozen(run, second or first)
    run.tell("visiting without cookies")
    await run.replay(first, [], _NONE, kind=ArmKind.NONE)


async def _insist(run: Run, first: LoggedIn) -> None:
    # Never in: is the session too young, gone with the first page, or does one login of several not hold?
    run.tell("visiting a session that is older")
    await run.settle(first)
    if (await run.browse(first, _INSIST, note="again")).ins:
        return
    for _ in range(MAX_LOGINS - 2):
        run.tell("trying another login")
        session = await log_in(run)
        if session is None or (await _once_more(run, session)).ins:
            return


async def _once_more(run: Run, session: LoggedIn) -> Arm:
    if run.plan.may_freeze:
        return await run.replay(session, session.frozen, 2 * _INSIST, kind=ArmKind.FROZEN, note="again")
    return await run.browse(session, _INSIST, note="again")


async def _lenient(run: Run, session: LoggedIn) -> None:
    # What a careless client would send, if a browser sends less.
    visitor = session.visitor
    sent = {each.name for each in session.frozen}
    kept = [each for each in visitor.lenient if each.name not in sent]
    if kept:
        run.tell("visiting with cookies that browsers refuse")
        cookies = [*session.frozen, *kept]
        await run.replay(session, cookies, _LENIENT, kind=ArmKind.LENIENT)


async def _frozen(run: Run, session: LoggedIn) -> None:
    counts = run.plan.counts
    run.tell("visiting with unchanged cookies")
    frozen = await run.replay(session, session.frozen, counts.frozen, kind=ArmKind.FROZEN)
    run.record.tested.add("frozen")
    looked = [frozen]
    bare = await _app_only(run, session, frozen)
    if bare is not None:
        looked.append(bare)
    if any(_lost(arm) for arm in looked):
        await _explain(run, session, looked)
    if frozen.pattern is Pattern.OK:
        run.tell("visiting as another browser")
        await run.replay(
            session, session.frozen, counts.other_agent, kind=ArmKind.OTHER_AGENT, agent=_OTHER_AGENT
        )
        run.record.tested.add("other agent")
    await _addresses(run, session)


async def _app_only(run: Run, session: LoggedIn, frozen: Arm) -> Arm | None:
    # Without the balancer's cookies, and without those that nobody knows: they may be a balancer's too.
    bare = _app_cookies(run, session)
    dropped = {each.name for each in session.frozen} - {each.name for each in bare}
    is_known = bool(dropped & run.record.balancer_cookies)
    if not dropped or (not is_known and frozen.pattern is not Pattern.OK):
        return None
    run.tell("visiting without the balancer's cookies")
    arm = await run.replay(session, bare, run.plan.counts.app_only, kind=ArmKind.APP_ONLY)
    run.record.tested.add("app only")
    if not is_known:
        if not arm.ins:
            run.record.arms.pop()  # the app itself needs them
            return None
        if arm.outs:
            run.record.balancer_cookies |= dropped
    return arm


def _app_cookies(run: Run, session: LoggedIn) -> list[StoredCookie]:
    auth = run.record.auth_names()
    return [each for each in session.frozen if each.name in auth]


async def _explain(run: Run, session: LoggedIn, looked: list[Arm]) -> None:
    # Something was lost: what decides between the explanations?
    counts = run.plan.counts
    if _is_cached(looked):
        run.tell("going round caches")
        separator = "&" if urlsplit(run.url).query else "?"
        url = f"{run.url}{separator}limpet-doctor={secrets.token_hex(4)}"
        await run.replay(session, session.frozen, _BUSTED, kind=ArmKind.BUSTED, url=url)
    if looked[0].pattern is not Pattern.DEAD and await run.settle(session):
        run.tell("visiting a session that is older")
        kept = _lossy_cookies(run, session, looked)
        await run.replay(session, kept, _SETTLED, kind=_lossy_kind(looked), note="older")
    # Where a session dies of its first wrong visit, visits at once would blur which one it was.
    at_once = _AT_ONCE if Pattern.FLAP in {arm.pattern for arm in looked} else 1
    for _ in range(2):
        another = await log_in(run)
        if another is None:
            return
        run.tell("confirming with another login")
        kept = _lossy_cookies(run, another, looked)
        note = "confirmation, at once" if at_once > 1 else "confirmation"
        await run.replay(another, kept, counts.confirm, kind=_lossy_kind(looked), note=note, at_once=at_once)


def _lossy_kind(looked: list[Arm]) -> ArmKind:
    return next(arm.kind for arm in looked if _lost(arm))


def _lossy_cookies(run: Run, session: LoggedIn, looked: list[Arm]) -> list[StoredCookie]:
    if _lossy_kind(looked) is ArmKind.FROZEN:
        return session.frozen
    return _app_cookies(run, session)


def _lost(arm: Arm) -> bool:
    return any(visit.outcome is Outcome.OUT for visit in arm.visits)


def _is_cached(looked: list[Arm]) -> bool:
    lost = [visit for arm in looked for visit in arm.visits if visit.outcome is Outcome.OUT]
    return any(visit.cache.is_cached for visit in lost)


async def _addresses(run: Run, session: LoggedIn) -> None:
    found = run.record.preflight.addresses[:_ADDRESSES]
    if len(found) < 2:
        return
    run.tell("visiting each address of the name")
    for address in found:
        await run.replay(
            session, session.frozen, _PER_ADDRESS, kind=ArmKind.ADDRESS, address=address, note=address
        )
    run.record.tested.add("addresses")
