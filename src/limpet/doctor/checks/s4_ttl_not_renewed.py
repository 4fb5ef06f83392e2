"""S4: the store's lifetime is not renewed.

The store's lifetime runs from the login and not from the last visit, so a session in use ends at the same
age as one that is not.
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

RULE = "S4"


def answer(evidence: Evidence) -> Answer:
    """Look for a session in use that ends although its cookie is sent."""
    arms = evidence.arms_of(ArmKind.TOUCHED)
    if not arms:
        return NotTested("no session was used for long; --idle 30m does it")
    names = signs.auth_names(evidence)
    alone = [arm for arm in evidence.arms_of(ArmKind.IDLE) if arm.note == "after"]
    for arm in arms:
        number = signs.first_out(arm)
        if number is None or not number or arm.pattern is Pattern.FLAP:
            continue
        visit = arm.clear[number]
        if any(name in names for name, _ in visit.sent):
            both = bool(alone) and all(each.outs and not each.ins for each in alone)
            return Finding(
                rule=RULE,
                severity=Severity.ERROR,
                confidence=Confidence.LIKELY if both else Confidence.POSSIBLE,
                evidence=(
                    (
                        f"a session in use ended at an age of {visit.since_login_s or 0:.0f} s, with "
                        "its cookie sent"
                    ),
                    "one that was left alone ended too" if both else "one that was left alone lives",
                ),
                users_see="a logout in the middle of work, a fixed time after logging in",
                fix="Renew the lifetime in the store at each use (touch), or store it together "
                "with the cookie's",
                rivals=("S1", "S3"),
                decide_by="a second run: the same age again means a lifetime",
            )
    return RuledOut("no session ended while it was in use")


CHECK = Check(
    RULE,
    "the store's lifetime is not renewed",
    Mode.TIME,
    "https://github.com/tj/connect-redis/issues/144",
    answer,
)
