"""The app behind the balancer, as browsers reach it: requests in, visits out."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import ssl
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import httpx

from limpet import __version__
from limpet.doctor.evidence import CacheFact, Outcome, PageFact, Visit
from limpet.doctor.rehearsal.inside.orders import ORDERS_HEADER, REPLICA_HEADER, Orders
from limpet.doctor.rehearsal.jar import Jar
from limpet.doctor.rehearsal.page import Page, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from limpet.doctor.evidence import CookieFact
    from limpet.doctor.rehearsal.stage import Stage

AGENT = f"limpet-check/{__version__}"
#: As a person would wait.
_TIMEOUT_S = 20.0
_MOST_HOPS = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: what goes into the evidence, and what does not."""

    visit: Visit
    text: str
    location: str
    page: Page


class Site:
    """Makes requests of the app, and counts them.

    Args:
        stage: where it runs.
        host: Host header, for apps that serve one name only; the balancer's address if absent.

    Attributes:
        used: requests made so far.
        user: a name that pages may show to somebody who is logged in; "" for none.
        outcome: tells what a visit means; "neither" for every one until it is known.
        orders: for every request from now on.
        products: what the app is made of.
    """

    def __init__(self, stage: Stage, host: str = "") -> None:
        self.used = 0
        self.user = ""
        self.outcome: Callable[[Visit], Outcome] = lambda _: Outcome.NEITHER
        self.orders = Orders()
        self.products: frozenset[str] = frozenset()
        self._salt = secrets.token_bytes(16)
        self._token = stage.token
        self._began_s = time.monotonic()
        self._host = host
        self._client = httpx.AsyncClient(
            base_url=stage.url,
            verify=ssl.create_default_context(cafile=stage.certificate),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def new_browser(self, headers: Mapping[str, str] | None = None) -> Browser:
        """Return a browser without cookies; `headers` are sent with every request."""
        return Browser(self, Jar(self._salt), headers or {})

    def now_s(self) -> float:
        """Return seconds since the start."""
        return time.monotonic() - self._began_s

    async def ask(
        self,
        method: str,
        path: str,
        *,
        cookies: str = "",
        data: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        orders: Orders | None = None,
    ) -> tuple[Answer, list[str]]:
        """Make one request; return the answer and its Set-Cookie headers."""
        self.used += 1
        sent = {
            "user-agent": AGENT,
            "accept": "text/html,application/json;q=0.9,*/*;q=0.8",
            **(headers or {}),
        }
        if self._host:
            sent["host"] = self._host
        if cookies:
            sent["cookie"] = cookies
        if method == "POST":
            # Browsers send both, and frameworks check them.
            origin = f"https://{self._host or urlsplit(str(self._client.base_url)).netloc}"
            sent |= {"origin": origin, "referer": f"{origin}{path}"}
        orders = orders or self.orders
        if orders != Orders():
            sent[ORDERS_HEADER] = orders.header(self._token)
        at_s, began_s = self.now_s(), time.monotonic()
        try:
            response = await self._client.request(method, path, data=data, json=body, headers=sent)
            self._client.cookies.clear()  # jars are ours
        except httpx.HTTPError as error:
            visit = Visit(at_s=at_s, method=method, path=path, status=0, failure=type(error).__name__)
            return Answer(visit, "", "", Page()), []
        visit = Visit(
            at_s=at_s,
            method=method,
            path=path.partition("?")[0],
            status=response.status_code,
            location=response.headers.get("location", "").partition("?")[0].partition("#")[0],
            replica=response.headers.get(REPLICA_HEADER, ""),
            cache=CacheFact(
                control=response.headers.get("cache-control", "").lower(),
                vary=response.headers.get("vary", "").lower(),
                has_validator="etag" in response.headers or "last-modified" in response.headers,
            ),
            took_s=time.monotonic() - began_s,
            products=self.products,
        )
        text = response.text
        is_html = "html" in response.headers.get("content-type", "")
        page = read_page(text) if is_html else Page()
        fact = self._page_fact(page, text, response.headers.get("content-type", ""))
        location = response.headers.get("location", "")
        return Answer(replace(visit, page=fact), text, location, page), response.headers.get_list(
            "set-cookie"
        )

    def _page_fact(self, page: Page, text: str, content_type: str) -> PageFact:
        return PageFact(
            content_type=content_type.partition(";")[0],
            has_password_field=page.has_password_field,
            has_logout_word=page.has_logout_word,
            title=self._hash(page.title) if page.title else "",
            json_shape=self._hash(_shape(text)) if "json" in content_type else "",
            names_user=self.user.lower() in text.lower() if self.user else None,
            words=frozenset(self._hash(word) for word in _words(page.text or text)),
            logout_links=tuple(urlsplit(link).path for link in page.logout_links),
            has_logout_form=page.has_logout_word and not page.logout_links,
        )

    def _hash(self, text: str) -> str:
        return hashlib.blake2b(text.encode(), key=self._salt, digest_size=4).hexdigest()


_WORD = re.compile(r"\w{2,}")
#: So many words of a page are compared; more tell nothing more.
_MOST_WORDS = 400


class Browser:
    """One browser: a jar, and pages that it opens."""

    def __init__(self, site: Site, jar: Jar, headers: Mapping[str, str]) -> None:
        self.jar = jar
        self.headers = dict(headers)
        self._site = site

    def copy(self) -> Browser:
        """Return a browser in the same state."""
        return Browser(self._site, self.jar.copy(), self.headers)

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
        now_s = time.time()
        sent = self.jar.sent(path, now_s, without)
        answer, set_cookies = await self._site.ask(
            method,
            path,
            cookies=self.jar.header(path, now_s, without),
            data=data,
            body=body,
            headers=self.headers,
            orders=orders,
        )
        jar = self.jar.copy() if is_frozen else self.jar
        facts = tuple(fact for each in set_cookies if (fact := jar.take(each, path, time.time())) is not None)
        visit = replace(answer.visit, sent=sent, set_cookies=facts)
        return replace(answer, visit=replace(visit, outcome=self._site.outcome(visit)))

    async def follow(self, answer: Answer, path: str) -> list[Answer]:
        """Follow redirects as a browser does, within the site; return the answers after the first."""
        hops: list[Answer] = []
        while answer.visit.status in {301, 302, 303, 307, 308} and len(hops) < _MOST_HOPS:
            target = urlsplit(urljoin(path, answer.location))
            if target.scheme == "http":
                break  # nobody listens there: what sends users to it has lost them
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            answer = await self.ask("GET", path)
            hops.append(answer)
        return hops

    async def open(self, path: str) -> list[Answer]:
        """Open a page with its redirects; the last answer is what a person sees."""
        answer = await self.ask("GET", path)
        return [answer, *await self.follow(answer, path)]


def cookies_of(facts: tuple[CookieFact, ...]) -> tuple[str, ...]:
    """Return the names of cookies."""
    return tuple(fact.name for fact in facts)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))[:_MOST_WORDS]


def _shape(text: str) -> str:
    try:
        return str(_kinds(json.loads(text)))
    except ValueError:
        return ""


def _kinds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kinds(each) for key, each in sorted(value.items())}
    return type(value).__name__
