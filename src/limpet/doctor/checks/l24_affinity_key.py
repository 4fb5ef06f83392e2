"""L24: several proxies do not share the affinity key.

Each proxy seals the sticky cookie with a key of its own, takes the others' for forged, and sets a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L24"


def answer(evidence: Evidence) -> Answer:
    """Look for a balancer's cookie that part of the answers replace."""
    if not evidence.balancer_cookies:
        return RuledOut("no response sets a balancer's cookie")
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    arms = signs.flaps_though_sticky(evidence)
    if not arms:
        return RuledOut("sessions hold as long as the balancer's cookie is sent")
    visits = sum(len(arm.visits) for arm in arms)
    anew = signs.reissued(evidence, arms)
    if not 0.1 * visits <= anew <= 0.9 * visits:
        return RuledOut(f"{anew} of {visits} answers replaced the balancer's cookie")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"{anew} of {visits} answers replaced a balancer's cookie that others took",
            signs.shown_arms(arms),
        ),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads",
        fix="Give all proxies the same key for their cookie (limpet: one key file; YARP: one "
        "Data Protection ring)",
    )


CHECK = Check(
    RULE,
    "several proxies do not share the affinity key",
    Mode.LOGIN,
    "https://microsoft.github.io/reverse-proxy/articles/session-affinity.html",
    answer,
)
