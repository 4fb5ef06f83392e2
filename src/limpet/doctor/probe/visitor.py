"""One browser: it obeys every Set-Cookie as browsers do, and keeps a second, lenient jar beside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from limpet.doctor.cookie_jar import Jar, place_of, read_set_cookie
from limpet.doctor.evidence import CookieFact
from limpet.doctor.probe.client import USER_AGENT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import httpx

    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.client import Client, Reply
    from limpet.doctor.probe.observe import Observer


class Visitor:
    """A browser's session with the site.

    Attributes:
        jar, lenient: what a browser holds, and what a careless client would.
        facts: the last form of each cookie that was set.
        refused: cookies that only the lenient jar keeps.
        logged_in_at_s: monotonic; None before the login.
        jar_after_submit: what a browser held when its credentials were taken, before any other page.
    """

    def __init__(self, client: Client, observer: Observer) -> None:
        self.client = client
        self.observer = observer
        self.jar = Jar()
        self.lenient = Jar(is_lenient=True)
        self.facts: dict[str, CookieFact] = {}
        self.refused: dict[str, CookieFact] = {}
        self.logged_in_at_s: float | None = None
        self.jar_after_submit: Jar | None = None

    async def go(
        self,
        url: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> tuple[Reply, Visit]:
        """Ask for a page with the browser's cookies, and do with them what the answer says."""
        cookies = self.cookies_for(url)
        reply = await self.client.send(
            url, method=method, body=body, headers=(*headers, *cookie_header(cookies))
        )
        self.obey(reply)
        return reply, self.observer.visit(reply, sent=cookies, since_login_s=self.age_s(reply))

    async def replay(
        self,
        url: str,
        cookies: Sequence[StoredCookie],
        *,
        agent: str = USER_AGENT,
        address: str = "",
        kept: httpx.AsyncHTTPTransport | None = None,
    ) -> Visit:
        """Ask for a page with these cookies, and let the answer change nothing."""
        reply = await self.client.send(
            url, headers=cookie_header(cookies), agent=agent, address=address, kept=kept
        )
        return self.observer.visit(reply, sent=cookies, since_login_s=self.age_s(reply))

    def obey(self, reply: Reply) -> None:
        """Take an answer's cookies into both jars."""
        place = place_of(reply.url)
        facts = self.observer.cookies(reply)
        read = [read_set_cookie(value) for name, value in reply.headers if name == "set-cookie"]
        for cookie, fact in zip([each for each in read if each is not None], facts, strict=True):
            refusal = self.jar.take(cookie, place, reply.wall_s)
            self.lenient.take(cookie, place, reply.wall_s)
            self.facts[cookie.name] = fact
            if refusal and not fact.is_deletion:
                self.refused[cookie.name] = fact
            elif not refusal:
                self.refused.pop(cookie.name, None)

    def cookies_for(self, url: str) -> list[StoredCookie]:
        """Return what a browser sends to a page."""
        return self.jar.sent_to(place_of(url), time.time())

    def held(self) -> list[CookieFact]:
        """Return the cookies that a browser holds, in the form in which they were set last."""
        return [self.facts.get(each.name, CookieFact(name=each.name)) for each in self.jar]

    def unsent(self, url: str) -> tuple[tuple[str, str], ...]:
        """Return the cookies that a browser holds and does not send to a page, with the reason."""
        place = place_of(url)
        reasons = [(each.name, each.unsent_reason(place)) for each in self.jar]
        return tuple((name, reason) for name, reason in reasons if reason)

    def age_s(self, reply: Reply) -> float | None:
        """Return how long after the login a request was sent."""
        return None if self.logged_in_at_s is None else max(reply.sent_at_s - self.logged_in_at_s, 0.0)


def cookie_header(cookies: Collection[StoredCookie]) -> tuple[tuple[str, str], ...]:
    """Return the Cookie header of some cookies; none for none."""
    if not cookies:
        return ()
    pairs = [f"{each.name}={each.value}" if each.name else each.value for each in cookies]
    return (("cookie", "; ".join(pairs)),)
