"""Turns answers into visits: cookies judged as a browser would, replicas named, nothing secret kept."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from limpet.doctor.cookie_jar import place_of, read_set_cookie, refuse
from limpet.doctor.evidence import CacheFact, CookieFact, CookieRole, PageFact, Visit
from limpet.doctor.fingerprints import read_cookie
from limpet.doctor.probe.page import read_page
from limpet.doctor.probe.safety import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from limpet.doctor.cookie_jar import SetCookie, StoredCookie
    from limpet.doctor.probe.client import Reply
    from limpet.doctor.probe.digest import Digest

#: Headers by which servers give their name away, the surest first.
_REPLICA_HEADERS = (
    "x-served-by",
    "x-replica",
    "x-backend",
    "x-backend-server",
    "x-server",
    "x-server-id",
    "x-server-name",
    "x-instance",
    "x-instance-id",
    "x-hostname",
    "x-host",
    "x-node",
    "x-pod",
    "x-pod-name",
    "x-worker",
    "x-worker-id",
    "x-container-id",
    "x-upstream",
    "fly-machine-id",
)
#: Values that name a cache's place and no server of the site.
_CACHES_NAME = re.compile(r"cache-|.*cloudfront", re.IGNORECASE)
_HIT = re.compile(r"\bhit\b", re.IGNORECASE)
_CACHE_HEADERS = (
    "cf-cache-status",
    "x-cache",
    "x-cache-status",
    "x-proxy-cache",
    "x-varnish-cache",
    "cache-status",
)
_PRODUCTS = {
    "cloudflare": re.compile(r"cloudflare", re.IGNORECASE),
    "CloudFront": re.compile(r"cloudfront", re.IGNORECASE),
    "Fastly": re.compile(r"fastly", re.IGNORECASE),
    "Varnish": re.compile(r"varnish", re.IGNORECASE),
    "nginx": re.compile(r"nginx|openresty", re.IGNORECASE),
    "gunicorn": re.compile(r"gunicorn", re.IGNORECASE),
    "Express": re.compile(r"express", re.IGNORECASE),
    "PHP": re.compile(r"\bphp\b", re.IGNORECASE),
    "envoy": re.compile(r"envoy", re.IGNORECASE),
    "Azure Front Door": re.compile(r"azure ?front ?door", re.IGNORECASE),
    "Flask": re.compile(r"werkzeug", re.IGNORECASE),
}
_PRODUCT_HEADERS = ("server", "via", "x-powered-by", "x-served-by", "x-cache")


class Observer:
    """Knows what is constant over a run.

    Args:
        started_s: when it began, monotonic.
        username: the name that logs in, to be looked for in pages.
        mark: the caller's own test of being logged in.
        replica_header: a header that names the replica for certain, if there is one.
    """

    def __init__(
        self,
        digest: Digest,
        *,
        started_s: float,
        username: str = "",
        mark: Callable[[Reply], bool] | None = None,
        replica_header: str = "",
    ) -> None:
        self.digest = digest
        self.username = username
        self.started_s = started_s
        self._mark = mark
        self._headers = (replica_header.lower(), *_REPLICA_HEADERS) if replica_header else _REPLICA_HEADERS
        self._certain = replica_header.lower()
        self._labels: dict[str, str] = {}
        self._behaving: set[str] = set()

    def learn_balancer_cookies(self, names: Collection[str]) -> None:
        """Take the values of some cookies for the names of replicas."""
        self._behaving |= set(names)

    def visit(
        self, reply: Reply, *, sent: Iterable[StoredCookie] = (), since_login_s: float | None = None
    ) -> Visit:
        """Return what an answer tells."""
        sent_facts = tuple((each.name, self.digest(each.value)) for each in sent)
        cookies = self.cookies(reply)
        return Visit(
            at_s=reply.sent_at_s - self.started_s,
            since_login_s=since_login_s,
            method=reply.method,
            path=urlsplit(reply.url).path or "/",
            status=reply.status,
            failure=reply.failure,
            location=_location(reply),
            replica=self._replica(reply, sent, cookies),
            sent=sent_facts,
            set_cookies=cookies,
            cache=_cache(reply),
            page=self._page(reply),
            date_offset_s=_date_offset_s(reply),
            wall_s=reply.wall_s,
            took_s=reply.took_s,
            products=_products(reply),
            allows_credentials=_credentials(reply),
            header_bytes=sum(len(each.name) + len(each.value) + 3 for each in sent),
        )

    def cookies(self, reply: Reply) -> tuple[CookieFact, ...]:
        """Return the cookies that an answer sets."""
        read = (read_set_cookie(value) for name, value in reply.headers if name == "set-cookie")
        return tuple(self._cookie(each, reply) for each in read if each is not None)

    def _cookie(self, cookie: SetCookie, reply: Reply) -> CookieFact:
        expires_s = cookie.expires_s
        is_deletion = cookie.is_deletion(reply.wall_s)
        return CookieFact(
            name=cookie.name,
            digest=self.digest(cookie.value),
            size_bytes=cookie.size_bytes,
            max_age_s=cookie.max_age_s,
            expires_in_s=None if expires_s is None else expires_s - reply.wall_s,
            is_deletion=is_deletion,
            domain=cookie.attribute("domain").removeprefix("."),
            path=cookie.attributes.get("path", ""),
            same_site=cookie.attribute("samesite"),
            is_secure="secure" in cookie.attributes,
            is_http_only="httponly" in cookie.attributes,
            is_partitioned="partitioned" in cookie.attributes,
            refusal=refuse(cookie, place_of(reply.url)),
            reading=read_cookie(cookie.name, cookie.value, self.digest) if cookie.value else None,
        )

    def _page(self, reply: Reply) -> PageFact:
        if not reply.status:
            return PageFact()
        return read_page(reply, self.digest, username=self.username, mark=self._mark)

    def _replica(self, reply: Reply, sent: Iterable[StoredCookie], cookies: tuple[CookieFact, ...]) -> str:
        for header in self._headers:
            value = reply.header(header)
            if value and not _CACHES_NAME.match(value):
                return self._label(value if header == self._certain else self.digest(value), header)
        for each in cookies:
            mark = self._cookie_mark(each)
            if mark:
                return self._label(mark, "cookie")
        for stored in sent:
            reading = read_cookie(stored.name, stored.value, self.digest)
            if stored.name in self._behaving:
                return self._label(self.digest(stored.value), "cookie")
            if reading is not None and reading.mark:
                return self._label(reading.mark, "cookie")
        return ""

    def _cookie_mark(self, cookie: CookieFact) -> str:
        if cookie.name in self._behaving:
            return cookie.digest
        reading = cookie.reading
        return reading.mark if reading and reading.role is CookieRole.BALANCER else ""

    def _label(self, mark: str, source: str) -> str:
        if source == self._certain:
            return mark  # our own name for it
        if mark not in self._labels:
            number = len(self._labels)
            self._labels[mark] = chr(ord("A") + number) if number < 26 else f"R{number + 1}"
        return self._labels[mark]


def _location(reply: Reply) -> str:
    value = reply.header("location")
    if not value or not 300 <= reply.status < 400:
        return ""
    parts = urlsplit(urljoin(reply.url, value))
    is_same = origin_of(parts.geturl()) == origin_of(reply.url)
    return parts.path or "/" if is_same else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _cache(reply: Reply) -> CacheFact:
    age = reply.header("age")
    said = [(name, reply.header(name)) for name in _CACHE_HEADERS if reply.header(name)]
    return CacheFact(
        age_s=int(age) if age.isdecimal() else None,
        is_hit=any(_HIT.search(value) for _, value in said),
        cache=said[0][0] if said else "",
        control=reply.header("cache-control").lower(),
        vary=reply.header("vary").lower(),
        has_validator=bool(reply.header("etag") or reply.header("last-modified")),
    )


def _date_offset_s(reply: Reply) -> float | None:
    try:
        date_s = parsedate_to_datetime(reply.header("date")).timestamp()
    except (TypeError, ValueError):
        return None
    # The header has whole seconds: half of one is its mean error.
    return date_s + 0.5 - (reply.wall_s - reply.took_s / 2)


def _products(reply: Reply) -> frozenset[str]:
    text = " ".join(reply.header(name) for name in _PRODUCT_HEADERS)
    found = {name for name, pattern in _PRODUCTS.items() if pattern.search(text)}
    if reply.header("cf-ray"):
        found.add("cloudflare")
    if reply.header("x-vcap-request-id"):
        found.add("Cloud Foundry")
    if reply.header("x-azure-ref"):
        found.add("Azure Front Door")
    return frozenset(found)


def _credentials(reply: Reply) -> bool | None:
    if not reply.header("access-control-allow-origin"):
        return None
    return reply.header("access-control-allow-credentials").lower() == "true"
