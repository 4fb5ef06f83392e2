"""A15: SameSite=Strict: links from mail arrive logged out.

Browsers do not send a Strict cookie with the first page that is reached from another site or a mail. A
reload, which comes from the site itself, is logged in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A15"


def answer(evidence: Evidence) -> Answer:
    """Look at SameSite of the session's cookies."""
    if not evidence.session_cookies:
        return NotTested("no session cookie was set")
    strict = [each for each in evidence.session_cookies if each.same_site == "strict"]
    if not strict:
        return RuledOut("the session's cookie is not SameSite=Strict")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"cookie {strict[0].name!r} is SameSite=Strict",),
        users_see="links from mails and other sites arrive logged out; a reload is logged in",
        fix="Use SameSite=Lax for the session, and Strict for a second cookie that only writes need",
        location=signs.place(evidence, "cookie_flags", strict[0].name),
    )


CHECK = Check(
    RULE,
    "SameSite=Strict: links from mail arrive logged out",
    Mode.LINT,
    "https://github.com/aces/Loris/pull/8338",
    answer,
)
