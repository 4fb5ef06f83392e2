"""Cookies brought along: from a variable, a cookie file, Playwright, cURL or a HAR.

They are one real session. So it cannot be compared with another login, and is replayed unchanged only
when its owner allows it: a site that rotates tokens takes that for theft.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from limpet.doctor.cookie_jar import StoredCookie, covers_host
from limpet.doctor.probe.login.way import Attempt, LoginError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from limpet.doctor.probe.visitor import Visitor


@dataclass(frozen=True)
class BroughtCookies:
    """A session that somebody else began."""

    cookies: tuple[StoredCookie, ...]
    name: str
    username: str = ""
    is_repeatable: bool = False

    async def log_in(self, visitor: Visitor, page_url: str) -> Attempt:
        """Put the cookies into the browser's jars."""
        host = (urlsplit(page_url).hostname or "").lower()
        fitting = [each for each in self.cookies if covers_host(each.domain or host, host)]
        if not fitting:
            raise LoginError(f"none of the cookies belongs to {host}; log in there and export them again")
        for each in fitting:
            for jar in (visitor.jar, visitor.lenient):
                jar.put(each)
        return Attempt(is_accepted=True)


def from_header(text: str, host: str) -> tuple[StoredCookie, ...]:
    """Read `a=b; c=d`, as a Cookie header has it."""
    pairs = [part.strip().partition("=") for part in text.split(";") if "=" in part]
    if not pairs:
        raise LoginError("the cookies have no name=value; write them as a Cookie header has them: a=b; c=d")
    return tuple(_cookie(name.strip(), value.strip(), host) for name, _, value in pairs)


def from_cookie_file(path: Path) -> tuple[StoredCookie, ...]:
    """Read a cookies.txt, as curl and browsers' extensions write it."""
    found = []
    for line in _text(path).splitlines():
        text = line.removeprefix("#HttpOnly_")
        fields = text.split("\t")
        if text.startswith("#") or len(fields) != 7:
            continue
        domain, _, cookie_path, is_secure, ends, name, value = fields
        host = domain.removeprefix(".").lower()
        found.append(
            StoredCookie(
                name=name,
                value=value,
                domain=host,
                is_host_only=fields[1] != "TRUE",
                path=cookie_path or "/",
                is_secure=is_secure == "TRUE",
                ends_s=float(ends) if ends.isdecimal() and ends != "0" else None,
            )
        )
    if not found:
        raise LoginError(f"{path}: has no cookies; it must be in the format of Netscape, seven fields a line")
    return tuple(found)


def from_storage_state(path: Path) -> tuple[StoredCookie, ...]:
    """Read what Playwright's `storage_state` saved."""
    cookies = _json(path).get("cookies")
    if not isinstance(cookies, list) or not cookies:
        raise LoginError(f"{path}: has no cookies; save it with storage_state(path=...) after the login")
    return tuple(_from_object(each) for each in cookies)


def from_curl(text: str, host: str) -> tuple[StoredCookie, ...]:
    """Read a command line of cURL, as browsers copy it."""
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError as error:
        raise LoginError(f"the cURL command cannot be read ({error}); copy it as cURL (bash)") from None
    for flag, value in pairwise(words):
        if flag in {"-b", "--cookie"}:
            return from_header(value, host)
        if flag in {"-H", "--header"} and value.lower().startswith("cookie:"):
            return from_header(value.split(":", 1)[1], host)
    raise LoginError("the cURL command sends no cookies; copy the request of a page where you are logged in")


def from_har(path: Path, host: str) -> tuple[StoredCookie, ...]:
    """Read the cookies of the last request to the site in a HAR."""
    log = _json(path).get("log")
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise LoginError(f"{path}: is no HAR; it has no log.entries")
    requests = [each.get("request", {}) for each in entries if isinstance(each, dict)]
    ours = [each for each in requests if (urlsplit(str(each.get("url", ""))).hostname or "").lower() == host]
    if not ours:
        raise LoginError(f"{path}: has no request to {host}; record it while you reload the page")
    for request in reversed(ours):
        found = tuple(_har_cookies(request, host))
        if found:
            return found
    # Browsers leave cookies out of a HAR unless they are asked not to.
    raise LoginError(f"{path}: is sanitised, it has no cookies; export the HAR with sensitive data")


def _har_cookies(request: dict[str, Any], host: str) -> Iterable[StoredCookie]:
    for header in request.get("headers", []):
        if str(header.get("name", "")).lower() == "cookie" and "=" in str(header.get("value", "")):
            yield from from_header(str(header["value"]), host)
            return
    for each in request.get("cookies", []):
        if each.get("value"):
            yield _cookie(str(each.get("name", "")), str(each["value"]), host)


def _from_object(each: dict[str, Any]) -> StoredCookie:
    domain = str(each.get("domain", ""))
    ends = each.get("expires", -1)
    return StoredCookie(
        name=str(each.get("name", "")),
        value=str(each.get("value", "")),
        domain=domain.removeprefix(".").lower(),
        is_host_only=not domain.startswith("."),
        path=str(each.get("path") or "/"),
        is_secure=bool(each.get("secure")),
        same_site=str(each.get("sameSite", "")).lower(),
        ends_s=float(ends) if isinstance(ends, int | float) and ends > 0 else None,
    )


def _cookie(name: str, value: str, host: str) -> StoredCookie:
    return StoredCookie(name=name, value=value, domain=host, is_host_only=True, path="/")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LoginError(f"{path}: cannot be read: {re.sub(r'^.Errno [0-9]+. ', '', str(error))}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except ValueError:
        raise LoginError(f"{path}: is not JSON") from None
    if not isinstance(value, dict):
        raise LoginError(f"{path}: is not a JSON object")
    return value
