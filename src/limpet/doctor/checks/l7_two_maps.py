"""L7: two balancers map one cookie to different targets.

Each balancer has its own idea of where a cookie leads. An unchanged balancer's cookie then reaches several
servers, and nobody replaces it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L7"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that flap although a balancer's cookie is sent, and never replaced."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if not evidence.balancer_cookies:
        return RuledOut("no response sets a balancer's cookie")
    arms = signs.flaps_though_sticky(evidence)
    if not arms or signs.flap_cause(evidence) is not signs.FlapCause.STATE:
        return RuledOut("sessions hold as long as the balancer's cookie is sent")
    if signs.reissued(evidence, arms):
        return RuledOut("the balancer replaces its cookie (L24)")
    if signs.behind_cdn(evidence):
        return RuledOut("a CDN stands in front, which explains it better (L13)")
    replicas = sorted({visit.replica for arm in arms for visit in arm.visits if visit.replica})
    seen = [f"one unchanged balancer's cookie: {signs.shown_arms(arms)}"]
    if len(replicas) > 1:
        seen.append(f"it reached replicas {', '.join(replicas)}")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=tuple(seen),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads",
        fix="Let all balancers list their targets alike, or put the target into the cookie "
        "(limpet's lb_cookie)",
        rivals=("L14",),
    )


CHECK = Check(
    RULE,
    "two balancers map one cookie to different targets",
    Mode.LOGIN,
    "https://github.com/istio/istio/issues/41674",
    answer,
)
