"""Cookies as they stand in Cookie and Set-Cookie headers.

Only what a balancer needs: find a cookie's values, take cookies out of a request, read and
write Set-Cookie. Bytes that do not concern it stay as they are. Source: RFC 6265 and its
successor draft-ietf-httpbis-rfc6265bis, whose section numbers are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.core.cookie_date import parse_cookie_date

if TYPE_CHECKING:
    from collections.abc import Collection


_SEMICOLON = ord(";")


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieAttributes:
    """Attributes of the cookies that limpet sets.

    Attributes:
        domain: for `Domain`; None for the host alone.
        same_site: "Lax", "Strict" or "None".
        is_secure: True for always, None for whenever the request came by https.
        is_partitioned: whether to set `Partitioned` (CHIPS).
    """

    domain: str | None = None
    same_site: str = "Lax"
    is_secure: bool | None = None
    is_partitioned: bool = False

    def text(self, *, is_https: bool) -> bytes:
        """Return the attributes with their leading semicolon."""
        parts = ["Path=/"]
        if self.domain is not None:
            parts.append(f"Domain={self.domain}")
        parts += ["HttpOnly", f"SameSite={self.same_site}"]
        if self.is_secure or (self.is_secure is None and is_https):
            parts.append("Secure")
        if self.is_partitioned:
            parts.append("Partitioned")
        return "".join([f"; {part}" for part in parts]).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """A Set-Cookie header as a browser understands it.

    Attributes:
        lifetime_s: Max-Age, or Expires minus now; None for a cookie of the browser's session.
        attributes: names in lower case, the last of each counts.
    """

    name: bytes
    value: bytes
    lifetime_s: float | None
    attributes: dict[bytes, bytes]

    @property
    def is_deletion(self) -> bool:
        """Whether the browser drops the cookie at once."""
        return self.lifetime_s is not None and self.lifetime_s <= 0


def find_values(cookie: bytes, name: bytes) -> list[bytes]:
    """Return the values of every cookie of a name in a Cookie header, in order."""
    wanted = name + b"="
    values = []
    at = cookie.find(wanted)
    while at >= 0:
        start = at + len(wanted)
        end = cookie.find(b";", start)
        if _begins_pair(cookie, at):
            values.append(_unquoted((cookie[start:end] if end >= 0 else cookie[start:]).rstrip(b" \t")))
            at = cookie.find(wanted, end) if end >= 0 else -1
        else:
            at = cookie.find(wanted, start)
    return values


def remove(cookie: bytes, names: Collection[bytes]) -> bytes:
    """Return a Cookie header without the cookies of some names; all others unchanged."""
    for name in names:
        at = cookie.find(name)
        while at >= 0:
            if not _begins_pair(cookie, at) or not _ends_name(cookie, at + len(name)):
                at = cookie.find(name, at + 1)  # only a part of another name, or of a value
                continue
            start = cookie.rfind(b";", 0, at) + 1
            end = cookie.find(b";", at)
            cookie = cookie[:start] + cookie[end + 1 :] if end >= 0 else cookie[: max(start - 1, 0)]
            at = cookie.find(name, start)
    return cookie.lstrip(b" \t")


def parse_set_cookie(header: bytes, now_wall_s: float) -> SetCookie | None:
    """Read a Set-Cookie value; None if a browser would ignore it.

    Source: rfc6265bis section 5.6; Max-Age before Expires as in section 5.7.
    """
    pair, *rest = header.split(b";")
    name, equals, value = pair.partition(b"=")
    if not equals or not name.strip(b" \t"):
        return None
    attributes = {}
    for part in rest:
        key, _, text = part.partition(b"=")
        attributes[key.strip(b" \t").lower()] = text.strip(b" \t")
    return SetCookie(
        name=name.strip(b" \t"),
        value=_unquoted(value.strip(b" \t")),
        lifetime_s=_lifetime_s(attributes, now_wall_s),
        attributes=attributes,
    )


def _begins_pair(cookie: bytes, at: int) -> bool:
    # Whether a cookie's name begins here and not in the middle of another name or value.
    if at == 0 or cookie[at - 2 : at] == b"; ":
        return True
    # No copy of what comes before: a name that is repeated a thousand times would cost a million bytes.
    while at and cookie[at - 1] in b" \t":
        at -= 1
    return not at or cookie[at - 1] == _SEMICOLON


def _ends_name(cookie: bytes, at: int) -> bool:
    # Whether a cookie's name has ended here.
    while at < len(cookie) and cookie[at] in b" \t":
        at += 1
    return at == len(cookie) or cookie[at] in b"=;"


def _lifetime_s(attributes: dict[bytes, bytes], now_wall_s: float) -> float | None:
    max_age = attributes.get(b"max-age")
    if max_age is not None:
        digits = max_age.removeprefix(b"-")
        if digits.isdigit():
            return -1.0 if max_age.startswith(b"-") else float(digits[:12])
    expires_s = parse_cookie_date(attributes.get(b"expires", b""))
    return expires_s - now_wall_s if expires_s is not None else None


def _unquoted(value: bytes) -> bytes:
    if len(value) >= 2 and value.startswith(b'"') and value.endswith(b'"'):
        return value[1:-1]
    return value
