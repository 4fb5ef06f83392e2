"""A22: remember-me takes parallel requests for theft.

A remember-me cookie is good for one use: it logs in and is replaced. When a browser comes back with it
and asks for several things at once, all but the first use the old one, which looks stolen, and the
theft detection ends every session of the user.
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

RULE = "A22"


def answer(evidence: Evidence) -> Answer:
    """Look at parallel requests with a remember-me cookie and no session."""
    untested = trials.needs(evidence, TrialKind.PARALLEL_RENEWAL)
    trial = evidence.trial(TrialKind.PARALLEL_RENEWAL)
    if untested or trial is None:
        return NotTested(untested)
    if not trials.remembers(evidence):
        return RuledOut("no cookie remembers the user when the session's cookie has ended")
    if not trials.lost(trial.after):
        return RuledOut("parallel requests with a remember-me cookie leave the user logged in")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=(trials.shown(trial), f"the cookie {trial.note!r} had ended; another one renews it"),
        users_see="a logout when the browser comes back and opens several pages at once",
        fix="Accept the last remember-me token for some seconds after it was used",
    )


CHECK = Check(
    RULE,
    "remember-me takes parallel requests for theft",
    Mode.CHECK,
    "https://github.com/spring-projects/spring-security/issues/3079",
    answer,
)
