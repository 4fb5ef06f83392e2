"""Finds the way in, and the page that shows whether one is in.

Everything here happens with a sticky balancer, on one replica: what is learnt must not depend on what
the app loses elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.doctor import oracle
from limpet.doctor.evidence import Outcome
from limpet.doctor.rehearsal.entrance import ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limpet.doctor.evidence import Visit
    from limpet.doctor.oracle import Oracle
    from limpet.doctor.rehearsal.entrance import Credentials, Way
    from limpet.doctor.rehearsal.site import Browser, Site

#: Pages that tend to differ for somebody who is logged in, after the one that the login leads to.
_PAGES = ("/", "/me", "/whoami", "/profile", "/account", "/dashboard", "/home", "/api/me", "/users/me")
_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Learnt:
    """How to log in, and how to see it.

    Attributes:
        auth: names of the cookies that a login depends on.
    """

    way: Way
    page: str
    oracle: Oracle
    auth: tuple[str, ...]


class LearningError(Exception):
    """No way in was found; the message says what was tried and what to do."""


async def learn(site: Site, credentials: Credentials, *, form: str, page: str, replicas: int) -> Learnt:
    """Log in and find what shows it.

    Args:
        form: path of the login, "" to find it.
        page: path that differs when logged in, "" to find it.
        replicas: how many take turns for those who are not logged in.

    Raises:
        LearningError: nothing that was tried changed any page.
    """
    outside = _Outside(site, replicas)
    tried: list[str] = []
    refused: set[str] = set()
    for way in ways(credentials, form):
        browser = site.new_browser()
        answers = await way.enter(browser, refused)
        if not answers or answers[1].visit.status in {404, 405, 501}:
            continue
        tried.append(f"{way} ({answers[1].visit.status})")
        refused.add(answers[1].visit.path)
        leads_to = answers[-1].visit.path
        for each in (page,) if page else dict.fromkeys((leads_to, *_PAGES)):
            found = await _oracle(site, way, browser, each, outside)
            if found is not None:
                site.outcome = found.outcome
                return Learnt(way, each, found, await _auth(browser, each))
    raise LearningError(_told(tried, credentials, page))


class _Outside:
    # Visits without a login, by page; asked for once.

    def __init__(self, site: Site, replicas: int) -> None:
        self._site = site
        self._count = replicas + 1
        self._visits: dict[str, list[Visit]] = {}

    async def visits(self, page: str) -> list[Visit]:
        if page not in self._visits:
            self._visits[page] = [
                (await self._site.new_browser().ask("GET", page)).visit for _ in range(self._count)
            ]
        return self._visits[page]


async def _oracle(site: Site, way: Way, browser: Browser, page: str, outside: _Outside) -> Oracle | None:
    # The first visit may show what is shown once ("welcome back"); two logins have no word in common
    # that is but the session's own.
    first = [(await browser.ask("GET", page)).visit for _ in range(_SAMPLES)]
    if first[-1].status >= 400 or _all_in(await outside.visits(page), first[1:]) is None:
        return None
    another = site.new_browser()
    await way.enter(another)
    second = [(await another.ask("GET", page)).visit for _ in range(_SAMPLES)]
    return _all_in(await outside.visits(page), first[1:] + second[1:])


def _all_in(outside: Sequence[Visit], inside: Sequence[Visit]) -> Oracle | None:
    # Nothing is lost yet, so all samples must say the same.
    found = oracle.choose(outside, inside)
    is_sure = found is not None and all(found.outcome(visit) is Outcome.IN for visit in inside)
    return found if is_sure else None


async def _auth(browser: Browser, page: str) -> tuple[str, ...]:
    found = []
    for fact in browser.cookies:
        answer = await browser.ask("GET", page, is_frozen=True, without=(fact.name,))
        if answer.visit.outcome is Outcome.OUT:
            found.append(fact.name)
    return tuple(found)


def _told(tried: list[str], credentials: Credentials, page: str) -> str:
    if not tried:
        return "no login was found; name its page with --form PATH, or what takes the fields of a POST"
    where = f"on {page}" if page else "on any page that was tried; name one that differs with --page PATH"
    who = f"as {credentials.user!r}"
    return (
        f"logging in {who} by {', '.join(tried)} changed nothing {where}; give --username and "
        "--password-env of a user that exists, or --setup MODULE:FUNCTION that makes one"
    )
