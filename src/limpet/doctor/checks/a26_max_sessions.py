"""A26: a new login ends the old one.

The app allows one session per user, or a few. Logging in on the phone logs out the laptop.
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

RULE = "A26"


def answer(evidence: Evidence) -> Answer:
    """Look at the first session again after the second login."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    later = [arm for arm in evidence.arms_of(ArmKind.JAR) if arm.note == "after the second login"]
    if not later:
        return NotTested("there was no second login")
    before = signs.browser_arms(evidence)
    was_in = bool(before) and before[0].pattern is Pattern.OK
    if not was_in or not all(arm.pattern is Pattern.OUT for arm in later):
        return RuledOut("the first session outlives the second login")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"the first session was in {before[0].ins} times, and out right after the second login",),
        users_see="a logout on one device when they log in on another",
        fix="If it is meant, say so on the login page; else allow several sessions per user",
    )


CHECK = Check(
    RULE,
    "a new login ends the old one",
    Mode.LOGIN,
    "https://github.com/spring-projects/spring-boot/issues/7692",
    answer,
)
