"""L3: stickiness ends before the session.

After some time without a request the balancer forgets where the session lives, and spreads it. The session
still exists on its server, so it is in and out by turns; one that was touched meanwhile is well.
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

RULE = "L3"


def answer(evidence: Evidence) -> Answer:
    """Look at a session that was left alone for a while."""
    after = [arm for arm in evidence.arms_of(ArmKind.IDLE) if arm.note == "after"]
    if not after:
        return NotTested("nothing was left alone; --idle 30m does it")
    if not evidence.balancer_cookies:
        return RuledOut("no response sets a balancer's cookie")
    if not any(arm.ins and arm.outs for arm in after):
        return RuledOut("the session that was left alone was not in and out by turns")
    touched = evidence.arms_of(ArmKind.TOUCHED)
    evidence_lines = (
        f"left alone, then: {signs.shown_arms(after)}",
        f"touched meanwhile: {signs.shown_arms(touched)}",
    )
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=evidence_lines,
        users_see="a logout when they come back after a break",
        fix="Let stickiness last at least as long as the session, or keep sessions in a shared store",
    )


CHECK = Check(
    RULE,
    "stickiness ends before the session",
    Mode.TIME,
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-sticky-sessions.html",
    answer,
)
