"""A5: the signing key was rotated without an overlap.

While a new key is rolled out, part of the servers signs with it and the others do not know it yet, so each
group refuses the other's cookies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Pattern
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A5"


def answer(evidence: Evidence) -> Answer:
    """Look for a signed session that begins to flap while somebody deploys."""
    arms = [arm for arm in evidence.arms_of(ArmKind.WATCH) if arm.note != "new login"]
    if not arms:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on")
    if not any(arm.pattern is Pattern.FLAP and (signs.first_out(arm) or 0) >= 3 for arm in arms):
        return RuledOut("the watched session was not in and out by turns")
    if not signs.is_signed(evidence) or not signs.browser_is_in(evidence):
        return RuledOut("no key decides, or the session flapped before")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(f"a signed session began to flap: {signs.watched(evidence)}",),
        users_see="logouts by turns while the new key is rolled out",
        fix="First let every server accept the new key beside the old one, then sign with it (Django: "
        "SECRET_KEY_FALLBACKS; Flask: SECRET_KEY_FALLBACKS; limpet: LIMPET_SECRET with both)",
    )


CHECK = Check(
    RULE,
    "the signing key was rotated without an overlap",
    Mode.TIME,
    "https://blog.vidio.com/rotating-ruby-on-rails-secret-key-base/",
    answer,
)
