"""The session cookie's name and attributes; fixed by configuration, never by a request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from limpet.core.cookies import find_values
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAME_SITES = ("Lax", "Strict", "None")
_BASE_NAME = "limpet_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """What the cookie is called and to whom browsers send it.

    Attributes:
        secure: only over https; False is for development without TLS.
        name: None for `__Host-limpet_session`, or `limpet_session` when not secure or for a domain.
        old_names: read as well, for one lifetime after a change of name; they are taken away when a
            cookie is set or cleared.
        domain: for `Domain`; None for the host alone.
        same_site: "Lax", "Strict" or "None".
        is_partitioned: whether to set `Partitioned` (CHIPS).
        is_http_only: whether scripts in the page cannot read it; False is for frameworks whose own
            setting says so.

    Source: OWASP ASVS 5.0 3.3.1 to 3.3.4; rfc6265bis section 4.1.3 for the prefixes.
    """

    secure: bool = True
    name: str | None = None
    old_names: tuple[str, ...] = ()
    path: str = "/"
    domain: str | None = None
    same_site: str = "Lax"
    is_partitioned: bool = False
    is_http_only: bool = True
    _names: tuple[bytes, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, for every request looks for them.
        names = tuple(name.encode("latin-1") for name in (self.full_name, *self.old_names))
        object.__setattr__(self, "_names", names)
        problems = []
        if self.same_site not in _SAME_SITES:
            problems.append(f"sessions.cookie.same_site: {self.same_site!r} is not one of Lax, Strict, None")
        if not self.secure and (self.same_site == "None" or self.is_partitioned):
            problems.append(
                "sessions.cookie: browsers refuse SameSite=None and Partitioned without Secure; set secure"
            )
        if self.full_name.startswith("__Host-") and (not self.secure or self.domain or self.path != "/"):
            problems.append(
                f"sessions.cookie.name: browsers refuse {self.full_name!r} without Secure, with a Domain or "
                "with a path; choose another name"
            )
        if self.full_name.startswith("__Secure-") and not self.secure:
            what = f"browsers refuse {self.full_name!r} without Secure"
            problems.append(f"sessions.cookie.name: {what}; choose another name")
        if problems:
            raise ConfigError(problems)

    @property
    def full_name(self) -> str:
        """The name that is set."""
        if self.name is not None:
            return self.name
        can_be_host = self.secure and self.domain is None and self.path == "/"
        return f"__Host-{_BASE_NAME}" if can_be_host else _BASE_NAME

    def find(self, cookies: Mapping[str, str]) -> str | None:
        """Return the session cookie's value among a request's cookies."""
        return next(iter(self.find_all(cookies)), None)

    def find_all(self, cookies: Mapping[str, str]) -> list[str]:
        """Return what may be the session cookie among a request's cookies, under its old names too."""
        return [cookies[name] for name in (self.full_name, *self.old_names) if name in cookies]

    def find_in_header(self, header: bytes) -> list[str]:
        """Return what may be the session cookie in a Cookie header.

        A browser sends several cookies of one name if they were set for different paths or domains, and a
        sibling domain can add one (cookie tossing). Source: rfc6265bis sections 5.8.3, 8.6.
        """
        values: list[bytes] = []
        for name in self._names:
            values += find_values(header, name)
        return [value.decode("latin-1") for value in values]

    def set(self, value: str, max_age_s: int | None) -> str:
        """Return the Set-Cookie value that gives a client its session."""
        age = "" if max_age_s is None else f"; Max-Age={max_age_s}"
        return f"{self.full_name}={value}{age}{self._attributes()}"

    def clear(self) -> str:
        """Return the Set-Cookie value that takes the cookie away."""
        return f"{self.full_name}=; Max-Age=0{self._attributes()}"

    def clear_old(self) -> list[str]:
        """Return the Set-Cookie values that take away the cookies of the old names."""
        return [self._under(name).clear() for name in self.old_names]

    def _under(self, name: str) -> CookieSettings:
        # With what the name's prefix demands, or browsers keep the cookie.
        is_host = name.startswith("__Host-")
        return replace(
            self,
            name=name,
            old_names=(),
            secure=self.secure or name.startswith(("__Host-", "__Secure-")),
            path="/" if is_host else self.path,
            domain=None if is_host else self.domain,
        )

    def _attributes(self) -> str:
        parts = [f"; Path={self.path}"]
        if self.domain is not None:
            parts.append(f"; Domain={self.domain}")
        if self.is_http_only:
            parts.append("; HttpOnly")
        parts.append(f"; SameSite={self.same_site}")
        if self.secure:
            parts.append("; Secure")
        if self.is_partitioned:
            parts.append("; Partitioned")
        return "".join(parts)
