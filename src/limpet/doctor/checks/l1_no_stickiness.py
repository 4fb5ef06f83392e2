"""L1: no stickiness, and each server keeps its own sessions.

The other side of A1: had the balancer pinned users, nobody would have noticed. From outside the two cannot
be told apart, so this only adds the second remedy to the first finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L1"


def answer(evidence: Evidence) -> Answer:
    """Take flapping ids without a balancer's cookie for missing stickiness."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if signs.flap_cause(evidence) is not signs.FlapCause.STATE:
        return RuledOut("no session depends on which server answers")
    if evidence.balancer_cookies:
        return RuledOut(f"there is a balancer's cookie, {evidence.balancer_cookies[0]!r}")
    return Finding(
        rule=RULE,
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        evidence=("no response sets a balancer's cookie, and a session is not on every server",),
        users_see="the logouts of the finding above",
        fix="As a stopgap, switch stickiness on at the balancer (limpet up --stickiness lb_cookie); "
        "the cure is a store that every server reads",
        rivals=("A1",),
    )


CHECK = Check(
    RULE,
    "no stickiness, and each server keeps its own sessions",
    Mode.LOGIN,
    "https://dev.to/jibbsjunior/ever-refreshed-a-website-only-to-be-randomly-logged-out-heres-the-devops-mistake-around-it-4pei",
    answer,
)
