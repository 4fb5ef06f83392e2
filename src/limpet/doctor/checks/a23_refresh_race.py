"""A23: parallel refreshes of a token race.

Parallel requests renew a token with the same refresh token. The first wins; the others are refused, and
their answer deletes the winner's cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs, trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence, Trial
    from limpet.doctor.finding import Answer

RULE = "A23"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that a burst of parallel requests ends."""
    renewal = evidence.trial(TrialKind.PARALLEL_RENEWAL)
    if renewal is not None and not trials.remembers(evidence):
        return _renewed(evidence, renewal)
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    lost = signs.lost_in_burst(evidence)
    if lost is None:
        return NotTested("no session was left for parallel visits")
    if not lost:
        return RuledOut("a session survives parallel visits")
    if not signs.is_token(evidence):
        return RuledOut("the session is no token that is renewed (A20)")
    return _finding(Confidence.LIKELY, *lost)


def _finding(sure: Confidence, *seen: str) -> Finding:
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=sure,
        evidence=seen,
        users_see="a logout when a page loads its parts, or in two tabs at once",
        fix="Renew once for all parallel requests, accept the last refresh token for some "
        "seconds, never delete cookies on a lost race",
    )


def _renewed(evidence: Evidence, trial: Trial) -> Answer:
    untested = trials.needs(evidence, TrialKind.PARALLEL_RENEWAL)
    if untested:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("parallel requests renew a cookie that has ended, and leave the user logged in")
    seen = f"the cookie {trial.note!r} had ended, and another one renews it"
    return _finding(Confidence.CONFIRMED, trials.shown(trial), seen)


CHECK = Check(
    RULE,
    "parallel refreshes of a token race",
    Mode.LOGIN,
    "https://github.com/nightscout/nocturne/pull/391",
    answer,
)
