"""A10: the cookie's end depends on the user's clock.

Expires is a date that the browser compares with its own clock. With a short life, a clock that is wrong by
as much drops the cookie at once. Max-Age counts from arrival.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A10"


_SHORT_S = 2 * 3600.0
_DAY_S = 86400.0


def answer(evidence: Evidence) -> Answer:
    """Look for short-lived session cookies with Expires only."""
    cookies = evidence.session_cookies
    if not cookies:
        return NotTested("no session cookie was set")
    for each in cookies:
        ends_s = each.expires_in_s
        if each.max_age_s is None and ends_s is not None and 0 < ends_s <= _DAY_S:
            return Finding(
                rule=RULE,
                severity=Severity.WARNING if ends_s <= _SHORT_S else Severity.NOTE,
                confidence=Confidence.CONFIRMED,
                evidence=(f"cookie {each.name!r} has Expires in {ends_s / 60:.0f} minutes, and no Max-Age",),
                users_see="users whose clock is ahead by as much cannot log in at all",
                fix="Send Max-Age (beside Expires, if you like)",
            )
    return RuledOut("no short-lived cookie depends on the user's clock")


CHECK = Check(
    RULE,
    "the cookie's end depends on the user's clock",
    Mode.LINT,
    "https://github.com/manfredsteyer/angular-oauth2-oidc/issues/1135",
    answer,
)
