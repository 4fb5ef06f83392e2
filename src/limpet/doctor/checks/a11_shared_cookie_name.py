"""A11: two apps share a cookie name.

Another app of the domain sets a cookie of the same name. The browser keeps the last one, and the session of
the first app is overwritten, though it still exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Pattern
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "A11"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that only a browser loses, because another page replaced its cookie."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    names = signs.auth_names(evidence)
    others = [each for visit in evidence.aside for each in visit.set_cookies if each.name in names]
    foreign = [each for each in others if _is_foreign(each, evidence)]
    browsers = signs.browser_arms(evidence)
    is_wiped = any(arm.pattern in {Pattern.DEAD, Pattern.FLAP, Pattern.ONE_OUT} for arm in browsers)
    holds = any(arm.pattern is Pattern.OK for arm in evidence.arms_of(ArmKind.FROZEN))
    if is_wiped and holds and (others or not evidence.balancer_cookies):
        cause = others[0].name if others else min(names)
        return _finding(
            cause, Confidence.CONFIRMED if others else Confidence.LIKELY, Severity.ERROR, evidence
        )
    if foreign:
        return _finding(foreign[0].name, Confidence.LIKELY, Severity.WARNING, evidence)
    return RuledOut("no other page replaces the session's cookie")


def _is_foreign(cookie: CookieFact, evidence: Evidence) -> bool:
    mine = next((each for each in evidence.session_cookies if each.name == cookie.name), None)
    if mine is None or mine.reading is None or cookie.reading is None:
        return False
    is_same_kind = mine.reading.is_signed_data == cookie.reading.is_signed_data
    return not is_same_kind or mine.reading.product != cookie.reading.product


def _finding(name: str, sure: Confidence, severity: Severity, evidence: Evidence) -> Finding:
    where = sorted({visit.path for visit in evidence.aside if visit.cookie(name) is not None})
    seen = ["unchanged cookies stay in, and a browser that obeys every answer is out"]
    if severity is Severity.WARNING:
        seen = []
    if where:
        seen.append(f"{', '.join(where)} sets {name!r} too")
    return Finding(
        rule=RULE,
        severity=severity,
        confidence=sure,
        evidence=tuple(seen),
        users_see="a logout after they visit another part of the site",
        fix=f"Give each app's cookie its own name, and the prefix __Host- (for example __Host-shop-{name})",
    )


CHECK = Check(
    RULE,
    "two apps share a cookie name",
    Mode.LOGIN,
    "https://github.com/tinyauthapp/tinyauth/issues/155",
    answer,
)
