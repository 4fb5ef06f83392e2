"""S13: a short outage of the store logs users out for good.

The app takes "I cannot ask" for "there is no such session", and deletes or replaces the cookie. When
the store is back, its session is still there, and no browser has the id any more.
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

RULE = "S13"


def answer(evidence: Evidence) -> Answer:
    """Look at a browser that visited while the store was away."""
    untested = trials.needs(evidence, TrialKind.STORE_STOPPED)
    trial = evidence.trial(TrialKind.STORE_STOPPED)
    if untested or trial is None:
        return NotTested(untested)
    outs = trial.during.outs if trial.during else 0
    if trials.lost(trial.after):
        return _finding(
            trials.shown(trial),
            "the cookies from before the outage are "
            + ("still good, but the browser has lost them" if trials.held(trial.fresh) else "no good either"),
        )
    if outs:
        return _note(trials.shown(trial), outs)
    return RuledOut("while the store was away there were errors and no logouts, and afterwards all was well")


def _finding(*seen: str) -> Finding:
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=seen,
        users_see="a store that is away for seconds logs out everybody who visits meanwhile, for good",
        fix="Answer 503 when the store cannot be asked; delete a cookie only when the store says that there\n"
        "is no such session. limpet.sessions does so",
    )


def _note(shown: str, outs: int) -> Finding:
    return Finding(
        rule=RULE,
        severity=Severity.NOTE,
        confidence=Confidence.CONFIRMED,
        evidence=(
            shown,
            f"{outs} pages of somebody logged out meanwhile, and in again afterwards",
        ),
        users_see="a login page while the store is away, though they are logged in",
        fix="Answer 503 when the store cannot be asked, so that nobody logs in anew for nothing",
    )


CHECK = Check(
    RULE,
    "a short outage of the store logs users out for good",
    Mode.CHECK,
    "https://github.com/sourcegraph/sourcegraph-public-snapshot/issues/37016",
    answer,
)
