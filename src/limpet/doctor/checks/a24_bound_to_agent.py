"""A24: the session is bound to the browser's name or address.

The app compares the User-Agent or address with those of the login. Browsers update themselves, and phones
change networks.
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

RULE = "A24"


def answer(evidence: Evidence) -> Answer:
    """Compare visits with another User-Agent to those with the login's."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    others = [arm for arm in evidence.arms_of(ArmKind.OTHER_AGENT) if len(arm.clear) >= 2]
    if not others:
        return NotTested("no visits were made as another browser")
    if not all(arm.pattern is Pattern.OUT for arm in others):
        return RuledOut("another User-Agent is in as well")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"the same cookies with another User-Agent: {signs.shown_arms(others)}",),
        users_see="a logout when the browser updates itself, or the phone changes networks",
        fix='Do not bind sessions so strictly (Flask-Login: session_protection = "basic")',
    )


CHECK = Check(
    RULE,
    "the session is bound to the browser's name or address",
    Mode.LOGIN,
    "https://github.com/maxcountryman/flask-login/issues/192",
    answer,
)
