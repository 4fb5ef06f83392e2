"""A21: a slow request writes back the session from before the login.

It began before the user logged in, read the session of then, and stores it when it ends: over the
login, in the store or in the browser's cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A21"


def answer(evidence: Evidence) -> Answer:
    """Look at the login during which a page was slow."""
    untested = trials.needs(evidence, TrialKind.SLOW_REQUEST)
    trial = evidence.trial(TrialKind.SLOW_REQUEST)
    if untested or trial is None:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("a login outlived a page that had begun before it and ended after it")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=(trials.shown(trial), "a page that had begun before the login ended after it"),
        users_see="whoever logs in while a page still loads is logged out at once, now and then",
        fix="Write a session only if the request changed it, and by a version that notices others' writes;\n"
        "make the id anew at login, so that the old session is another one",
    )


CHECK = Check(
    RULE,
    "a slow request writes back the session from before the login",
    Mode.CHECK,
    "https://github.com/laravel/framework/issues/7549",
    answer,
)
