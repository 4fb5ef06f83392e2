"""A17: the cookie is larger than browsers keep.

Browsers drop a cookie whose name and value exceed 4096 bytes. It hits the users with most data: a large
cart, many groups, long tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import CookieRole
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import shared_store

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "A17"


_NEAR_BYTES = 3800
_MAX_BYTES = 4096


def answer(evidence: Evidence) -> Answer:
    """Look at the sizes of the session's cookies."""
    names = signs.auth_names(evidence)
    refused = [each for login in evidence.logins for each in login.refused]
    cookies = [each for each in (*evidence.set_cookies, *refused) if _is_sessions(each, names)]
    if not cookies:
        return NotTested("no session cookie was set")
    largest = max(cookies, key=lambda each: each.size_bytes)
    if largest.size_bytes <= _NEAR_BYTES:
        return RuledOut(f"the largest session cookie has {largest.size_bytes} bytes")
    is_over = largest.size_bytes > _MAX_BYTES
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_over else Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"cookie {largest.name!r} has {largest.size_bytes} bytes; browsers keep {_MAX_BYTES}",),
        users_see="users with much data cannot stay logged in",
        fix=f"Keep the data on the server and only an id in the cookie. {shared_store(evidence.products)}",
    )


def _is_sessions(cookie: CookieFact, names: set[str]) -> bool:
    return cookie.name in names or cookie.role is CookieRole.SESSION or cookie.size_bytes > _MAX_BYTES


CHECK = Check(
    RULE,
    "the cookie is larger than browsers keep",
    Mode.LOGIN,
    "https://github.com/pallets/werkzeug/pull/780",
    answer,
)
