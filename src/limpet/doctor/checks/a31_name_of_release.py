"""A31: the cookie or key name changes with each release.

The cookie's name is derived from a path or version, which changes at each deploy. The old cookie is still
there, and nobody reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs, trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity, SourceLine

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A31"


#: Name of the fact by which `limpet check` tells which cookies logins do not set any more.
RENAMED = "cookies that have another name after a restart"


def answer(evidence: Evidence) -> Answer:
    """Compare the cookies of logins before and after a session ended under watch."""
    if evidence.command == "check":
        return _rehearsed(evidence)
    ended = signs.ended_while_watched(evidence)
    if ended is None:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on")
    if not ended:
        return RuledOut("the watched session did not end")
    new = signs.new_names(evidence)
    if not new:
        return RuledOut("the cookie's name is the same after the deploy")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=(f"before the session ended the cookie had another name; now it is {min(new)!r}",),
        users_see="everybody is logged out at each deploy",
        fix="Give the cookie a fixed name",
    )


def _rehearsed(evidence: Evidence) -> Answer:
    trial = evidence.trial(TrialKind.RESTART_ALL)
    if trial is None:
        return NotTested(trials.needs(evidence, TrialKind.RESTART_ALL))
    renamed = evidence.facts.get(RENAMED, "")
    if not renamed or not trials.lost(trial.after):
        return RuledOut("a login sets cookies of the same names after a restart")
    place = next((each for each in evidence.sources if each.kind == "cookie_flags"), None)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"after a restart logins do not set {renamed} any more", trials.shown(trial)),
        users_see="everybody is logged out by each deploy",
        fix="Give the cookie one name for good; neither a path, a version nor a time belongs in it",
        location=SourceLine(place.path, place.line) if place else None,
    )


CHECK = Check(
    RULE,
    "the cookie or key name changes with each release",
    Mode.TIME,
    "https://github.com/padrino/padrino-framework/issues/2109",
    answer,
)
