"""L21: two versions of the app take turns for one user.

A canary or a rollout that does not pin users: pages come from one version and their scripts from the other,
and where the versions differ in how they keep sessions, users are out by turns.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm, Evidence
    from limpet.doctor.finding import Answer

RULE = "L21"


def answer(evidence: Evidence) -> Answer:
    """Look for versions of scripts and styles that take turns within one session."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN)
    mixed = [arm for arm in arms if _takes_turns(arm)]
    if not mixed:
        return RuledOut("each session saw one version of the site's scripts and styles")
    is_lost = signs.flap_cause(evidence) is signs.FlapCause.VERSION
    versions = {visit.page.version for arm in mixed for visit in arm.visits if visit.page.version}
    seen = [f"{len(versions)} versions of the site's scripts and styles within one session"]
    if is_lost:
        seen.append("sessions are in on one version and out on another")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_lost else Severity.NOTE,
        confidence=Confidence.CONFIRMED if is_lost else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="a logout whenever the other version answers"
        if is_lost
        else "pages of two versions by turns",
        fix="Pin users to a version while two are out (limpet: weights of groups pin each client)",
        rivals=("S11",) if is_lost else (),
    )


def _takes_turns(arm: Arm) -> bool:
    versions = [visit.page.version for visit in arm.visits if visit.page.version]
    return sum(before != after for before, after in pairwise(versions)) >= 3


CHECK = Check(
    RULE,
    "two versions of the app take turns for one user",
    Mode.LOGIN,
    "https://github.com/fluxcd/flagger/issues/7",
    answer,
)
