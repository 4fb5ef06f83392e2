"""A13: the cookie's path or domain does not cover the app.

The login sets a cookie that browsers keep and do not send to the page, because its Path or Domain is
another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A13"


def answer(evidence: Evidence) -> Answer:
    """Look for cookies of the login that browsers hold and do not send."""
    if not any(login.is_accepted for login in evidence.logins):
        return NotTested("no login was accepted")
    for login in evidence.logins:
        unsent = [
            (name, reason) for name, reason in login.unsent if name in login.auth and "Secure" not in reason
        ]
        refused = [each for each in login.refused if each.name in login.auth and "domain" in each.refusal]
        if unsent or refused:
            name, reason = unsent[0] if unsent else (refused[0].name, refused[0].refusal)
            return _finding(evidence, name, reason)
    return RuledOut("browsers send the session's cookie to the page")


def _finding(evidence: Evidence, name: str, reason: str) -> Finding:
    lenient = evidence.arms_of(ArmKind.LENIENT)
    is_in = any(arm.ins for arm in lenient)
    is_lost = signs.never_in(evidence) or any(arm.outs for arm in signs.browser_arms(evidence))
    seen = [f"cookie {name!r} is not sent to the page: it {reason}"]
    if is_in:
        seen.append(f"a client that sends it all the same: {signs.shown_arms(lenient)}")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_lost else Severity.WARNING,
        confidence=Confidence.CONFIRMED if is_in else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="logging in has no effect on this page",
        fix="Set the cookie with Path=/ and a Domain that covers the page, or with none",
    )


CHECK = Check(
    RULE,
    "the cookie's path or domain does not cover the app",
    Mode.LOGIN,
    "https://fixmymess.ai/blog/samesite-secure-cookie-settings",
    answer,
)
