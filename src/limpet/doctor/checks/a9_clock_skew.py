"""A9: the servers' clocks differ.

A server whose clock is behind takes a fresh token for one from the future and refuses it for some seconds;
one whose clock is ahead ends sessions early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs, trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A9"


def answer(evidence: Evidence) -> Answer:
    """Compare Date headers and times in cookies, and look for sessions that are out while young."""
    if evidence.command == "check":
        return _rehearsed(evidence)
    skew_s = signs.skew_s(evidence)
    if not skew_s:
        enough = len(signs.clock_offsets_s(evidence)) >= 4
        return (
            RuledOut("the servers' clocks agree") if enough else NotTested("no answer tells a server's time")
        )
    is_young = signs.flap_cause(evidence) is signs.FlapCause.YOUTH
    seen = [f"the servers' clocks differ by about {skew_s:.0f} s"]
    if is_young:
        seen.append("sessions are out only in the first seconds after a login")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_young else Severity.WARNING,
        confidence=Confidence.CONFIRMED if is_young else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="a logout right after logging in" if is_young else "sessions that end early, or begin late",
        fix="Run a time service (chrony) on every server, and allow some seconds of leeway where "
        "tokens are checked",
    )


def _rehearsed(evidence: Evidence) -> Answer:
    # One clock was made wrong. That no app stands this is worth a note; a browser that loses its
    # cookie by it stays out when the clocks agree again.
    untested = trials.needs(evidence, TrialKind.SKEWED_CLOCK)
    trial = evidence.trial(TrialKind.SKEWED_CLOCK)
    if untested or trial is None or trial.after is None:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("a session that began on a server whose clock is ahead holds on the others")
    names = signs.auth_names(evidence)
    is_wiped = any(
        each.is_deletion for visit in trial.after.visits for each in visit.set_cookies if each.name in names
    )
    return Finding(
        rule=RULE,
        severity=Severity.WARNING if is_wiped else Severity.NOTE,
        confidence=Confidence.CONFIRMED,
        evidence=(
            f"the session began on a server whose clock was ahead by {trial.note}",
            trials.shown(trial),
            *(("the others delete the session's cookie",) if is_wiped else ()),
        ),
        users_see="a logout for good after a login on a server whose clock is ahead"
        if is_wiped
        else "a logout until the other servers' clocks have caught up",
        fix="Run a time service (chrony) on every server, and allow some seconds of leeway where "
        "tokens are checked",
    )


CHECK = Check(
    RULE,
    "the servers' clocks differ",
    Mode.LOGIN,
    "https://github.com/tymondesigns/jwt-auth/issues/1053",
    answer,
)
