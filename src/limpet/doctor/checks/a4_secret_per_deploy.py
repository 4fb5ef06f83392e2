"""A4: the signing key is made anew at each start.

Each start makes a new key, so every cookie that was signed before is forged from then on. New logins are
fine until the next deploy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs, trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity, SourceLine
from limpet.doctor.fixes import shared_secret

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A4"


#: Name of the fact by which `limpet check` tells which secrets are others after a restart.
CHANGED = "secrets that change at a restart"


def answer(evidence: Evidence) -> Answer:
    """Look for signed sessions that all end while somebody deploys, though new logins hold."""
    if evidence.command == "check":
        return _rehearsed(evidence)
    if signs.ended_while_watched(evidence) is None:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on, and limpet check restarts the app")
    if not signs.ended_while_watched(evidence):
        return RuledOut("the watched session did not end")
    if not signs.is_signed(evidence):
        return RuledOut("the cookie carries no data, so no key decides")
    if signs.new_names(evidence):
        return RuledOut("the cookie's name has changed (A31)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"a signed session ended for good: {signs.watched(evidence)}",
            "a new login holds",
        ),
        users_see="everybody is logged out at each deploy",
        fix=shared_secret(evidence.products),
    )


def _rehearsed(evidence: Evidence) -> Answer:
    untested = trials.needs(evidence, TrialKind.RESTART_ALL)
    trial = evidence.trial(TrialKind.RESTART_ALL)
    if untested or trial is None:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("the session survived a restart of every replica")
    changed = evidence.facts.get(CHANGED, "")
    if not changed and not signs.is_signed(evidence):
        return RuledOut("no secret changed at the restart, and the cookie carries no data")
    made = next((each for each in evidence.sources if each.kind == "secret_made_at_import"), None)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED if changed else Confidence.LIKELY,
        evidence=(trials.shown(trial), *((f"after it there is another {changed}",) if changed else ())),
        users_see="everybody is logged out by each deploy and restart",
        fix=shared_secret(evidence.products),
        location=SourceLine(made.path, made.line) if made else None,
    )


CHECK = Check(
    RULE,
    "the signing key is made anew at each start",
    Mode.TIME,
    "https://canolcer.com/post/rails-prevent-users-from-logging-out/",
    answer,
)
