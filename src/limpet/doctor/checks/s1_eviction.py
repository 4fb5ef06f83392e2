"""S1: the store evicts sessions.

A store that is short of memory drops keys, sessions among them, those first that nobody has used for a
while. A session ends for good at a random age, whichever server answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Pattern
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm, Evidence
    from limpet.doctor.finding import Answer

RULE = "S1"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that end for good at no repeatable moment."""
    idle = _idle(evidence)
    if idle is not None:
        return idle
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    dead = signs.died(evidence)
    if not dead:
        return RuledOut("no session ended for good within the run; --idle 30m waits longer")
    if signs.flap_cause(evidence) is not None or signs.dies_at_first_stranger(evidence):
        return RuledOut("another explanation fits better")
    if not any(arm.kind is not ArmKind.JAR for arm in dead) and not signs.browser_kept_cookie(evidence):
        return RuledOut("a browser's cookie was replaced (A11)")
    ages = ", ".join(f"{_age_s(arm):.0f} s" for arm in dead)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=tuple(
            filter(None, (f"{len(dead)} sessions ended for good, at an age of {ages}", _others(evidence)))
        ),
        users_see="a logout at a random moment, sooner for those who pause",
        fix="Give sessions a store of their own that evicts nothing (Redis: maxmemory-policy "
        "noeviction, with an "
        "alert), large enough for all of them; limpet sessions check looks at it",
        rivals=("S3", "S12", "S9"),
        decide_by="the store's count of evicted keys (Redis: INFO stats, evicted_keys)",
    )


def _idle(evidence: Evidence) -> Finding | None:
    after = [arm for arm in evidence.arms_of(ArmKind.IDLE) if arm.note == "after"]
    touched = evidence.arms_of(ArmKind.TOUCHED)
    if not after or not touched or any(arm.ins or not arm.outs for arm in after):
        return None
    if any(arm.outs for arm in touched):
        return None
    lived_s = max(arm.visits[0].since_login_s or 0 for arm in after)
    promised = [each.lifetime_s for each in evidence.session_cookies if each.lifetime_s]
    if promised and min(promised) <= lived_s:
        return None
    is_early = bool(promised)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING if is_early else Severity.NOTE,
        confidence=Confidence.POSSIBLE,
        evidence=(f"a session that nobody used was over within {lived_s:.0f} s; one in use was not",),
        users_see="a logout after a break",
        fix="If no idle limit is meant: look whether the store evicts keys or has a shorter "
        "lifetime than the cookie",
        rivals=("S14",),
        decide_by="the store's count of evicted keys, and its lifetime for sessions",
    )


def _age_s(arm: Arm) -> float:
    number = signs.first_out(arm)
    return (arm.clear[number].since_login_s or 0.0) if number is not None else 0.0


def _others(evidence: Evidence) -> str:
    live = [arm for arm in evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN) if arm.pattern is Pattern.OK]
    return "other sessions lived on" if live else ""


CHECK = Check(
    RULE,
    "the store evicts sessions",
    Mode.LOGIN,
    "https://github.com/dimagi/commcare-cloud/pull/1865",
    answer,
)
