"""A29: the cookie's lifetime is not renewed.

The cookie gets its lifetime at login and never again, so it ends in the browser in the middle of work,
however active the user is.
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

RULE = "A29"


def answer(evidence: Evidence) -> Answer:
    """Look for a session that was used until the browser dropped its cookie."""
    arms = evidence.arms_of(ArmKind.TOUCHED)
    if not arms:
        return NotTested("no session was used for long; --idle 30m does it")
    names = signs.auth_names(evidence)
    for arm in arms:
        number = signs.first_out(arm)
        if number is None or not number:
            continue
        visit = arm.clear[number]
        if not any(name in names for name, _ in visit.sent):
            return Finding(
                rule=RULE,
                severity=Severity.ERROR,
                confidence=Confidence.CONFIRMED,
                evidence=(
                    (
                        f"a session in use ended after {visit.since_login_s or 0:.0f} s, because the "
                        "browser's cookie did"
                    ),
                    "no answer had renewed it",
                ),
                users_see="a logout in the middle of work, a fixed time after logging in",
                fix="Send the cookie anew while the session is used (Express: rolling: true; Flask: "
                "SESSION_REFRESH_EACH_REQUEST; Django: SESSION_SAVE_EVERY_REQUEST), as the "
                "store's lifetime is",
            )
    return RuledOut("no cookie ended while its session was in use")


CHECK = Check(
    RULE,
    "the cookie's lifetime is not renewed",
    Mode.TIME,
    "https://github.com/expressjs/session/issues/357",
    answer,
)
