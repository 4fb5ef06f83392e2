"""S7: sessions are read from a lagging replica of the store.

The session is written to the store's primary and read from a replica that is behind. Right after the login
it is not there yet; moments later it is.
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

RULE = "S7"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that are out only while they are young, with clocks that agree."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    if not signs.lost_in_youth(evidence):
        return RuledOut("no session was out only right after its login")
    if signs.skew_s(evidence):
        return RuledOut("the servers' clocks differ, which explains it better (A9)")
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.APP_ONLY)
    last_s = max(visit.since_login_s or 0.0 for arm in arms for visit in signs.outs(arm.visits))
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"out only within {last_s:.1f} s after a login, and in ever after: {signs.shown_arms(arms)}",
        ),
        users_see="a logout right after logging in; a reload helps",
        fix="Read sessions from the store's primary, or wait for its replicas when a login is "
        "written (?wait=1)",
    )


CHECK = Check(
    RULE,
    "sessions are read from a lagging replica of the store",
    Mode.LOGIN,
    "https://github.com/colinmollenhour/Cm_Cache_Backend_Redis/pull/115",
    answer,
)
