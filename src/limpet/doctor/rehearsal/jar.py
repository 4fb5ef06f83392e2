"""The cookies of one browser that knows one site: the app behind our balancer.

Only what a browser keeps is kept, by the rules of rfc6265bis for a site that is reached by https.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.core.cookies import parse_set_cookie
from limpet.doctor.evidence import CookieFact, CookieReading, CookieRole
from limpet.doctor.rehearsal.stage import BALANCER_COOKIE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: What browsers keep of one cookie, name and value together (rfc6265bis section 5.7).
MAX_COOKIE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    """A cookie in the jar.

    Attributes:
        value: as it was written, with its quotes.
        end_s: wall clock at which it ends; None for the end of the browser.
    """

    fact: CookieFact
    value: str
    path: str
    end_s: float | None


class Jar:
    """What a browser holds; a copy is a browser in the same state.

    Args:
        salt: of the hashes by which values are compared.
    """

    def __init__(self, salt: bytes, kept: Iterable[Kept] = ()) -> None:
        self._salt = salt
        self._kept = {(each.fact.name, each.path): each for each in kept}

    def copy(self) -> Jar:
        """Return a jar with the same cookies."""
        return Jar(self._salt, self._kept.values())

    def take(self, header: str, path: str, now_s: float) -> CookieFact | None:
        """Obey a Set-Cookie header, and return what it says; None if browsers ignore it.

        Args:
            path: of the request.
            now_s: wall clock.
        """
        raw = header.encode("latin-1", "replace")
        parsed = parse_set_cookie(raw, now_s)
        if parsed is None:
            return None
        value = header.partition(";")[0].partition("=")[2].strip(" \t")
        fact = self._fact(parsed.name.decode("latin-1"), value, parsed.lifetime_s, parsed.attributes)
        scope = fact.path if fact.path.startswith("/") else (path.rpartition("/")[0] or "/")
        if fact.is_deletion:
            self._kept.pop((fact.name, scope), None)
        elif not fact.refusal:
            end_s = None if fact.lifetime_s is None else now_s + fact.lifetime_s
            self._kept[fact.name, scope] = Kept(fact, value, scope, end_s)
        return fact

    def header(self, path: str, now_s: float, without: Collection[str] = ()) -> str:
        """Return the Cookie header for a path; "" for no cookie."""
        return "; ".join(f"{each.fact.name}={each.value}" for each in self._sent(path, now_s, without))

    def sent(self, path: str, now_s: float, without: Collection[str] = ()) -> tuple[tuple[str, str], ...]:
        """Return names and hashes of the cookies that are sent to a path."""
        return tuple((each.fact.name, each.fact.digest) for each in self._sent(path, now_s, without))

    def drop(self, names: Collection[str]) -> None:
        """Forget cookies, as if their lives had ended."""
        self._kept = {scope: each for scope, each in self._kept.items() if scope[0] not in names}

    @property
    def facts(self) -> tuple[CookieFact, ...]:
        """What is held."""
        return tuple(each.fact for each in self._kept.values())

    def _sent(self, path: str, now_s: float, without: Collection[str]) -> list[Kept]:
        fitting = [
            each
            for each in self._kept.values()
            if each.fact.name not in without
            and (each.end_s is None or each.end_s > now_s)
            and _covers(each.path, path)
        ]
        return sorted(fitting, key=lambda each: -len(each.path))

    def _fact(
        self, name: str, value: str, lifetime_s: float | None, attributes: dict[bytes, bytes]
    ) -> CookieFact:
        text = {key.decode("latin-1"): each.decode("latin-1") for key, each in attributes.items()}
        has_max_age = "max-age" in text
        return CookieFact(
            name=name,
            digest=hashlib.blake2b(value.encode(), key=self._salt, digest_size=4).hexdigest()
            if value
            else "",
            size_bytes=len(name) + len(value),
            max_age_s=lifetime_s if has_max_age else None,
            expires_in_s=None if has_max_age else lifetime_s,
            is_deletion=lifetime_s is not None and lifetime_s <= 0,
            domain=text.get("domain", "").lower(),
            path=text.get("path", ""),
            same_site=text.get("samesite", "").lower(),
            is_secure="secure" in text,
            is_http_only="httponly" in text,
            is_partitioned="partitioned" in text,
            refusal=_refusal(name, len(name) + len(value), text),
            reading=_BALANCERS if name == BALANCER_COOKIE else None,
        )


_BALANCERS = CookieReading(product="limpet", role=CookieRole.BALANCER)


def _refusal(name: str, size_bytes: int, attributes: dict[str, str]) -> str:
    # Source: rfc6265bis section 5.7, the storage model.
    is_secure = "secure" in attributes
    if size_bytes > MAX_COOKIE_BYTES:
        return f"larger than {MAX_COOKIE_BYTES} bytes"
    if attributes.get("samesite", "").lower() == "none" and not is_secure:
        return "SameSite=None without Secure"
    if "partitioned" in attributes and not is_secure:
        return "Partitioned without Secure"
    if name.lower().startswith(("__secure-", "__host-")) and not is_secure:
        return f"the name {name} demands Secure"
    if name.lower().startswith("__host-") and (attributes.get("path") != "/" or "domain" in attributes):
        return f"the name {name} demands Path=/ and no Domain"
    return ""


def _covers(scope: str, path: str) -> bool:
    return path == scope or path.startswith(scope if scope.endswith("/") else f"{scope}/")
