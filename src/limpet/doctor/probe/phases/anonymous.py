"""Phase 2: many strangers, and one who comes back. Shows replicas, caches and keys without a login."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.doctor.evidence import CookieRole
from limpet.doctor.probe.record import relabelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.run import Run
    from limpet.doctor.probe.visitor import Visitor


async def anonymous(run: Run) -> None:
    """Visit the page without cookies, then with what a stranger was given."""
    run.tell("visiting as strangers")
    record, counts = run.record, run.plan.counts
    strangers = [run.newcomer() for _ in range(counts.fan_out)]
    # One after the other and all at once: some servers only share the work when they have to.
    half = len(strangers) // 2
    for stranger in strangers[:half]:
        record.anonymous.append((await stranger.go(run.url))[1])
    together = await asyncio.gather(*(stranger.go(run.url) for stranger in strangers[half:]))
    record.anonymous += [visit for _, visit in together]
    record.balancer_cookies = record.find_balancer_cookies()
    behaving = record.balancer_cookies
    run.observer.learn_balancer_cookies(_unread(run, behaving))
    record.anonymous = relabelled(record.anonymous, _unread(run, behaving))
    record.tested.add("anonymous")
    await _come_back(run, strangers)


async def _come_back(run: Run, strangers: list[Visitor]) -> None:
    record, counts = run.record, run.plan.counts
    names = record.balancer_cookies
    known = [stranger for stranger in strangers if any(each.name in names for each in stranger.jar)]
    if known:
        run.tell("sending the balancer's cookie back")
        record.honoured += await _repeat(run, known[0], lambda each: each.name in names, counts.honoured)
    given = {
        each.name
        for visit in record.anonymous
        for each in visit.set_cookies
        if each.role is CookieRole.SESSION and each.name not in names
    }
    holders = [stranger for stranger in strangers if any(each.name in given for each in stranger.jar)]
    if holders:
        run.tell("coming back with a stranger's session")
        record.replayed += await _repeat(run, holders[0], lambda each: each.name in given, counts.replayed)
    if counts.kept:
        run.tell("keeping a connection")
        async with run.client.kept_connection() as kept:
            stranger = run.newcomer()
            for _ in range(counts.kept):
                record.kept.append(await stranger.replay(run.url, [], kept=kept))


async def _repeat(
    run: Run, stranger: Visitor, wanted: Callable[[StoredCookie], bool], count: int
) -> list[Visit]:
    cookies = [each for each in stranger.cookies_for(run.url) if wanted(each)]
    return [await stranger.replay(run.url, cookies) for _ in range(count if cookies else 0)]


def _unread(run: Run, names: set[str]) -> set[str]:
    # Balancer cookies that no fingerprint knows: their values themselves name replicas.
    read = {
        each.name
        for visit in run.record.anonymous
        for each in visit.set_cookies
        if each.role is CookieRole.BALANCER
    }
    return names - read
