"""A cookie jar that obeys the rules of browsers, and one that does not.

The usual HTTP clients keep cookies that every browser drops: 5,000 bytes, `__Host-` without Secure,
`SameSite=None` without Secure. A probe with such a jar sees a site work that fails its users. So each
visit feeds two jars; what only the lenient one keeps is a finding of its own.

Source: draft-ietf-httpbis-rfc6265bis-22, sections 5.6 to 5.8; the numbers of steps are not repeated.
Not here: the public suffix list, and the limit on cookies per domain.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from limpet.core.cookie_date import parse_cookie_date

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Name and value together, and each attribute's value.
MAX_PAIR_BYTES = 4096
MAX_ATTRIBUTE_BYTES = 1024
MAX_LIFETIME_S = 400 * 86400.0


class Place(NamedTuple):
    """Where a cookie comes from or goes to."""

    scheme: str
    host: str
    path: str

    @property
    def is_trustworthy(self) -> bool:
        """Whether browsers treat it as secure: https, or this machine."""
        return self.scheme == "https" or is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """A Set-Cookie header, taken apart and not yet judged.

    Attributes:
        attributes: names in lower case; the last of each counts.
    """

    name: str
    value: str
    attributes: dict[str, str]

    def attribute(self, name: str) -> str:
        """Return an attribute in lower case; "" if it is absent or empty."""
        return self.attributes.get(name, "").lower()

    @property
    def size_bytes(self) -> int:
        """What browsers limit."""
        return len(self.name.encode()) + len(self.value.encode())

    @property
    def max_age_s(self) -> float | None:
        """The Max-Age attribute; None if there is none that counts."""
        text = self.attributes.get("max-age", "")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()):
            return None
        return -1.0 if text.startswith("-") else float(digits[:12])

    @property
    def expires_s(self) -> float | None:
        """The Expires attribute as seconds since the epoch; None if there is none that counts."""
        text = self.attributes.get("expires")
        return None if text is None else parse_cookie_date(text.encode())

    def lifetime_s(self, now_wall_s: float) -> float | None:
        """Return seconds until it ends; None for the end of the browser's session."""
        if self.max_age_s is not None:
            return self.max_age_s
        return None if self.expires_s is None else self.expires_s - now_wall_s

    def is_deletion(self, now_wall_s: float) -> bool:
        """Whether it ends at once."""
        lifetime_s = self.lifetime_s(now_wall_s)
        return lifetime_s is not None and lifetime_s <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCookie:
    """A cookie in a jar."""

    name: str
    value: str
    domain: str
    is_host_only: bool
    path: str
    is_secure: bool = False
    same_site: str = ""
    is_partitioned: bool = False
    ends_s: float | None = None
    order: int = 0

    @property
    def key(self) -> tuple[str, str, bool, str, bool]:
        """What another cookie has to share to replace it."""
        return self.name, self.domain, self.is_host_only, self.path, self.is_partitioned

    def unsent_reason(self, place: Place) -> str:
        """Return why it is not sent to a place; "" if it is."""
        if self.is_host_only and place.host != self.domain:
            return f"belongs to the host {self.domain} alone"
        if not self.is_host_only and not covers_host(self.domain, place.host):
            return f"belongs to the domain {self.domain}"
        if not covers_path(self.path, place.path):
            return f"has the path {self.path}"
        if self.is_secure and not place.is_trustworthy:
            return "is Secure, and the page is on http"
        return ""


class Jar:
    """The cookies of one browser.

    Args:
        is_lenient: keep what browsers refuse.
    """

    def __init__(self, *, is_lenient: bool = False) -> None:
        self.is_lenient = is_lenient
        self._cookies: dict[tuple[str, str, bool, str, bool], StoredCookie] = {}
        self._count = 0

    def __iter__(self) -> Iterator[StoredCookie]:
        return iter(tuple(self._cookies.values()))

    def copy(self) -> Jar:
        """Return a jar with the same cookies, which then goes its own way."""
        other = Jar(is_lenient=self.is_lenient)
        other._cookies = dict(self._cookies)
        other._count = self._count
        return other

    def take(self, cookie: SetCookie, place: Place, now_wall_s: float) -> str:
        """Store a cookie, or drop what it ends; return why a browser refuses it, "" if it does not."""
        refusal = refuse(cookie, place)
        if refusal and not self.is_lenient:
            return refusal
        stored = _stored(cookie, place, now_wall_s)
        if not refusal and not self.is_lenient and self._hides_secure(stored, place):
            return "would hide a Secure cookie from http"
        old = self._cookies.get(stored.key)
        if stored.ends_s is not None and stored.ends_s <= now_wall_s:
            self._cookies.pop(stored.key, None)
            return refusal
        self._count += 1
        self._cookies[stored.key] = replace(stored, order=old.order if old else self._count)
        return refusal

    def put(self, stored: StoredCookie) -> None:
        """Store a cookie that was brought along."""
        self._count += 1
        self._cookies[stored.key] = replace(stored, order=self._count)

    def sent_to(self, place: Place, now_wall_s: float) -> list[StoredCookie]:
        """Return the cookies that go to a place, in browsers' order: long paths first, then old ones."""
        found = [
            each
            for each in self._cookies.values()
            if not each.unsent_reason(place) and (each.ends_s is None or each.ends_s > now_wall_s)
        ]
        return sorted(found, key=lambda each: (-len(each.path), each.order))

    def _hides_secure(self, new: StoredCookie, place: Place) -> bool:
        if new.is_secure or place.is_trustworthy:
            return False
        return any(
            old.is_secure and old.name == new.name and covers_path(old.path, new.path)
            for old in self._cookies.values()
        )


def read_set_cookie(header: str) -> SetCookie | None:
    """Take a Set-Cookie header apart; None if it says nothing."""
    pair, *rest = header.split(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if not name and not value:
        return None
    attributes = {}
    for part in rest:
        key, _, text = part.partition("=")
        if len(text.strip().encode()) <= MAX_ATTRIBUTE_BYTES:
            attributes[key.strip(" \t").lower()] = text.strip(" \t")
    return SetCookie(name=name, value=value, attributes=attributes)


def refuse(cookie: SetCookie, place: Place) -> str:
    """Return why a browser refuses a cookie from a place; "" if it takes it."""
    if any(ord(each) < 0x20 or ord(each) == 0x7F for each in cookie.name + cookie.value):
        return "it holds a control character"
    if cookie.size_bytes > MAX_PAIR_BYTES:
        return f"it has {cookie.size_bytes} bytes, and browsers keep at most {MAX_PAIR_BYTES}"
    is_secure = "secure" in cookie.attributes
    domain = _domain(cookie)
    if domain and not covers_host(domain, place.host):
        return f"its domain {domain} does not cover {place.host}"
    if domain and "." not in domain and domain != place.host:
        return f"its domain {domain} is a top-level domain"
    if is_secure and not place.is_trustworthy:
        return "it is Secure and was set on http"
    if cookie.attribute("samesite") == "none" and not is_secure:
        return "it is SameSite=None without Secure"
    if "partitioned" in cookie.attributes and not is_secure:
        return "it is Partitioned without Secure"
    return _broken_prefix(cookie, place, is_secure=is_secure)


def covers_host(domain: str, host: str) -> bool:
    """Whether a cookie of a domain goes to a host."""
    return host == domain or (host.endswith("." + domain) and not _is_address(host))


def covers_path(cookie_path: str, path: str) -> bool:
    """Whether a cookie of a path goes to another path."""
    if not path.startswith(cookie_path):
        return False
    return path == cookie_path or cookie_path.endswith("/") or path[len(cookie_path)] == "/"


def default_path(path: str) -> str:
    """Return the path of a cookie that names none."""
    return path[: path.rfind("/")] or "/" if path.startswith("/") else "/"


def place_of(url: str) -> Place:
    """Return where a URL leads."""
    parts = urlsplit(url)
    return Place(parts.scheme, (parts.hostname or "").lower(), parts.path or "/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _domain(cookie: SetCookie) -> str:
    return cookie.attribute("domain").removeprefix(".")


def _broken_prefix(cookie: SetCookie, place: Place, *, is_secure: bool) -> str:
    name = cookie.name.lower()
    if name.startswith("__secure-") and not is_secure:
        return "its name begins with __Secure- and it is not Secure"
    if not name.startswith("__host-"):
        return ""
    if not is_secure:
        return "its name begins with __Host- and it is not Secure"
    if "domain" in cookie.attributes and _domain(cookie):
        return "its name begins with __Host- and it has a Domain"
    if cookie.attributes.get("path") != "/" and _path(cookie, place) != "/":
        return "its name begins with __Host- and its path is not /"
    return "" if cookie.attributes.get("path") == "/" else "its name begins with __Host- and it has no Path=/"


def _path(cookie: SetCookie, place: Place) -> str:
    path = cookie.attributes.get("path", "")
    return path if path.startswith("/") else default_path(place.path)


def _stored(cookie: SetCookie, place: Place, now_wall_s: float) -> StoredCookie:
    domain = _domain(cookie)
    lifetime_s = cookie.lifetime_s(now_wall_s)
    return StoredCookie(
        name=cookie.name,
        value=cookie.value,
        domain=domain or place.host,
        is_host_only=not domain,
        path=_path(cookie, place),
        is_secure="secure" in cookie.attributes,
        same_site=cookie.attribute("samesite"),
        is_partitioned="partitioned" in cookie.attributes,
        ends_s=None if lifetime_s is None else now_wall_s + min(lifetime_s, MAX_LIFETIME_S),
    )
