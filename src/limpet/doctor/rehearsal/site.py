"""The app behind the balancer, as browsers reach it: requests in, visits out.

Not the doctor's client: no rule of its own is needed on loopback, connections are kept because the
balancer chooses anew for every request, and orders to replicas go along.
"""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx

from limpet import __version__
from limpet.doctor.cookie_jar import Jar, Place, place_of, read_set_cookie
from limpet.doctor.evidence import Outcome, Visit
from limpet.doctor.probe.client import Reply
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.observe import Observer
from limpet.doctor.rehearsal.inside.orders import ORDERS_HEADER, REPLICA_HEADER, Orders
from limpet.doctor.rehearsal.stage import BALANCER_COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import CookieFact
    from limpet.doctor.rehearsal.stage import Stage

AGENT = f"limpet-check/{__version__}"
_ACCEPT = "text/html,application/json;q=0.9,*/*;q=0.8"
#: As a person would wait.
_TIMEOUT_S = 20.0
_MOST_HOPS = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: the visit goes into the evidence, the reply does not."""

    visit: Visit
    reply: Reply


class Site:
    """Makes requests of the app, and counts them.

    Args:
        stage: where it runs.
        host: Host header, for apps that serve one name only; the balancer's address if absent.

    Attributes:
        used: requests made so far.
        outcome: tells what a visit means; "neither" for every one until it is known.
        orders: for every request from now on.
        products: what the app is made of.
    """

    def __init__(self, stage: Stage, host: str = "") -> None:
        self.used = 0
        self.outcome: Callable[[Visit], Outcome] = lambda _: Outcome.NEITHER
        self.orders = Orders()
        self.products: frozenset[str] = frozenset()
        self._token = stage.token
        self._began_s = time.monotonic()
        self._observer = Observer(Digest(), started_s=self._began_s, replica_header=REPLICA_HEADER)
        self._origin = f"https://{host or urlsplit(stage.url).netloc}"
        self._client = httpx.AsyncClient(
            base_url=stage.url,
            verify=ssl.create_default_context(cafile=stage.certificate),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def look_for(self, user: str) -> None:
        """Look for a name on pages, which show it to somebody who is logged in."""
        self._observer.username = user

    def new_browser(self) -> Browser:
        """Return a browser without cookies."""
        return Browser(self, Jar(), {}, {})

    def now_s(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self._began_s

    def place(self, path: str) -> Place:
        """Return where a path is, for jars."""
        return place_of(self._origin + path)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        cookies: Collection[StoredCookie] = (),
        data: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        orders: Orders | None = None,
    ) -> Answer:
        """Make one request."""
        self.used += 1
        sent = {
            "user-agent": AGENT,
            "accept": _ACCEPT,
            **(headers or {}),
            "host": urlsplit(self._origin).netloc,
        }
        if cookies:
            sent["cookie"] = "; ".join(f"{each.name}={each.value}" for each in cookies)
        if method == "POST":
            # Browsers send both, and frameworks check them.
            sent |= {"origin": self._origin, "referer": self._origin + path}
        orders = orders or self.orders
        if orders != Orders():
            sent[ORDERS_HEADER] = orders.header(self._token)
        reply = await self._reply(method, path, data, body, sent)
        visit = self._observer.visit(reply, sent=cookies)
        return Answer(replace(visit, products=visit.products | self.products), reply)

    async def _reply(
        self, method: str, path: str, data: Mapping[str, str] | None, body: Any, headers: dict[str, str]
    ) -> Reply:
        began_s = time.monotonic()
        try:
            response = await self._client.request(method, path, data=data, json=body, headers=headers)
        except httpx.HTTPError as error:
            return Reply(
                url=self._origin + path,
                method=method,
                sent_at_s=began_s,
                took_s=time.monotonic() - began_s,
                wall_s=time.time(),
                failure=type(error).__name__,
            )
        self._client.cookies.clear()  # jars are ours
        return Reply(
            url=self._origin + path,
            method=method,
            status=response.status_code,
            headers=tuple((name.lower(), value) for name, value in response.headers.multi_items()),
            body=response.content,
            sent_at_s=began_s,
            took_s=time.monotonic() - began_s,
            wall_s=time.time(),
        )


class Browser:
    """One browser: a jar, and pages that it opens.

    Attributes:
        headers: sent with every request, such as a token that the app gave out.
    """

    def __init__(
        self, site: Site, jar: Jar, facts: Mapping[str, CookieFact], headers: Mapping[str, str]
    ) -> None:
        self.jar = jar
        self.headers = dict(headers)
        self._facts = dict(facts)
        self._site = site

    def copy(self) -> Browser:
        """Return a browser in the same state."""
        return Browser(self._site, self.jar.copy(), self._facts, self.headers)

    @property
    def cookies(self) -> tuple[CookieFact, ...]:
        """What is held of the app's cookies."""
        held = {each.name for each in self.jar}
        return tuple(fact for name, fact in self._facts.items() if name in held and name != BALANCER_COOKIE)

    def unsent(self, path: str) -> tuple[tuple[str, str], ...]:
        """Return the cookies that are held and not sent to a path, and why."""
        place = self._site.place(path)
        reasons = ((each.name, each.unsent_reason(place)) for each in self.jar)
        return tuple((name, reason) for name, reason in reasons if reason)

    def drop(self, name: str) -> None:
        """Forget a cookie, as if its life had ended."""
        kept = Jar()
        for each in self.jar:
            if each.name != name:
                kept.put(each)
        self.jar = kept

    async def ask(
        self,
        method: str,
        path: str,
        *,
        data: Mapping[str, str] | None = None,
        body: Any = None,
        is_frozen: bool = False,
        without: Collection[str] = (),
        orders: Orders | None = None,
    ) -> Answer:
        """Make one request; a redirect is not followed.

        Args:
            is_frozen: whether to leave the jar as it is, whatever is set.
            without: names of cookies to leave out.
        """
        sent = self.jar.sent_to(self._site.place(path), time.time())
        answer = await self._site.ask(
            method,
            path,
            cookies=[each for each in sent if each.name not in without],
            data=data,
            body=body,
            headers=self.headers,
            orders=orders,
        )
        if not is_frozen:
            self._take(answer)
        return replace(answer, visit=replace(answer.visit, outcome=self._site.outcome(answer.visit)))

    async def follow(self, answer: Answer) -> list[Answer]:
        """Follow redirects as a browser does, within the site; return the answers after the first."""
        hops: list[Answer] = []
        while 300 <= answer.visit.status < 400 and answer.reply.header("location") and len(hops) < _MOST_HOPS:
            target = urlsplit(urljoin(answer.reply.url, answer.reply.header("location")))
            if target.scheme == "http":
                break  # nobody listens there: what sends users to it has lost them
            answer = await self.ask("GET", path_of(target.geturl()))
            hops.append(answer)
        return hops

    async def open(self, path: str) -> list[Answer]:
        """Open a page with its redirects; the last answer is what a person sees."""
        answer = await self.ask("GET", path)
        return [answer, *await self.follow(answer)]

    def _take(self, answer: Answer) -> None:
        reply = answer.reply
        place = place_of(reply.url)
        self._facts.update({fact.name: fact for fact in answer.visit.set_cookies if not fact.refusal})
        for name, value in reply.headers:
            cookie = read_set_cookie(value) if name == "set-cookie" else None
            if cookie is not None:
                self.jar.take(cookie, place, reply.wall_s)


def path_of(url: str) -> str:
    """Return what of a URL a request line has."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
