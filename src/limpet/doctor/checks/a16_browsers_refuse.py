"""A16: browsers refuse the cookie for its attributes.

SameSite=None or Partitioned without Secure, or a __Host- or __Secure- name without what it promises.
Browsers drop such cookies; most HTTP clients in tests keep them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, CookieRole
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "A16"


def answer(evidence: Evidence) -> Answer:
    """Look for cookies of sessions and balancers that a browser's jar refuses."""
    if evidence.first is None and not evidence.logins:
        return NotTested("the page was not read")
    names = signs.auth_names(evidence) | set(evidence.balancer_cookies)
    refused = [each for each in _all(evidence) if _counts(each, names)]
    if not refused:
        return RuledOut("browsers keep the cookies of sessions and balancers")
    lenient = evidence.arms_of(ArmKind.LENIENT)
    seen = [f"browsers refuse cookie {each.name!r}: {each.refusal}" for each in refused[:3]]
    if any(arm.ins for arm in lenient):
        seen.append(f"a client that keeps it all the same: {signs.shown_arms(lenient)}")
    is_balancers = all(each.name in evidence.balancer_cookies for each in refused)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING if is_balancers else Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=tuple(seen),
        users_see="a logout on every page load, though tests with simple clients pass",
        fix="SameSite=None and Partitioned need Secure; a __Host- name needs Secure, Path=/ and no Domain",
        location=signs.place(evidence, "cookie_flags", refused[0].name),
    )


def _all(evidence: Evidence) -> list[CookieFact]:
    found = {each.name: each for each in evidence.set_cookies}
    for login in evidence.logins:
        found |= {each.name: each for each in login.refused}
    return list(found.values())


def _counts(cookie: CookieFact, names: set[str]) -> bool:
    if not cookie.refusal or any(word in cookie.refusal for word in ("bytes", "domain", "set on http")):
        return False  # other rules: A17, A13, A19
    return cookie.name in names or cookie.role is not CookieRole.OTHER


CHECK = Check(
    RULE,
    "browsers refuse the cookie for its attributes",
    Mode.LINT,
    "https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/22/",
    answer,
)
