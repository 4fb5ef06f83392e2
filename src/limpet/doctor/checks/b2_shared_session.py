"""B2: two visitors get the same session.

A cache keeps a response together with its Set-Cookie and gives it to everybody: visitors then share a
session, and may see each other's data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import CookieRole
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "B2"


def answer(evidence: Evidence) -> Answer:
    """Compare the session ids that strangers get."""
    if len(evidence.anonymous) < 2:
        return NotTested("too few strangers came")
    given: dict[str, list[tuple[str, bool]]] = {}
    for visit in evidence.anonymous:
        for each in visit.set_cookies:
            is_id = each.role is CookieRole.SESSION and not each.is_deletion
            if (
                is_id
                and each.name not in evidence.balancer_cookies
                and (visit.cache.is_cached or _is_opaque(each))
            ):
                given.setdefault(each.name, []).append((each.digest, visit.cache.is_cached))
    for name, ids in given.items():
        shared = len(ids) - len({digest for digest, _ in ids})
        if shared:
            cached = any(is_cached for _, is_cached in ids)
            return Finding(
                rule=RULE,
                severity=Severity.ERROR,
                confidence=Confidence.CONFIRMED,
                evidence=(
                    f"of {len(ids)} strangers, {shared + 1} or more share one value of {name!r}",
                    "a cache answered them" if cached else "no answer says that it came from a cache",
                ),
                users_see="they are logged in as somebody else, or logged out by somebody else",
                fix="Never cache a response with Set-Cookie; answer such pages with "
                "Cache-Control: private, no-store",
            )
    return (
        RuledOut("every stranger got a session of his own") if given else RuledOut("strangers get no session")
    )


def _is_opaque(cookie: CookieFact) -> bool:
    # Signed data of two strangers may be equal within one second.
    return cookie.reading is not None and not cookie.reading.is_signed_data


CHECK = Check(
    RULE,
    "two visitors get the same session",
    Mode.LINT,
    "https://surfacecheckr.com/learn/transport-and-headers/web-cache-deception-session-cached",
    answer,
)
