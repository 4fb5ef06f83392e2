"""L2: works only thanks to stickiness.

With the balancer's cookie a session holds, without it the same session is lost on most servers. So users
are fine until a server is replaced, drained or overloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import shared_store

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm, Evidence
    from limpet.doctor.finding import Answer

RULE = "L2"


def answer(evidence: Evidence) -> Answer:
    """Compare visits with the balancer's cookie to visits without it."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if not evidence.balancer_cookies:
        return RuledOut("no response sets a balancer's cookie")
    bare = evidence.arms_of(ArmKind.APP_ONLY)
    if not bare:
        return NotTested("no visits were made without the balancer's cookie")
    if not signs.pinned_only(evidence):
        return RuledOut("sessions do not depend on the balancer's cookie")
    names = ", ".join(evidence.balancer_cookies)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=_confidence(bare),
        evidence=(
            f"with the balancer's cookie ({names}) every visit was in",
            f"the same session without it: {signs.shown_arms(bare)}",
        ),
        users_see="nothing today; at the next deploy, crash or change of scale, everybody on "
        "that server is out",
        fix=shared_store(evidence.products),
    )


def _confidence(bare: tuple[Arm, ...]) -> Confidence:
    if not any(arm.ins for arm in bare):
        return Confidence.POSSIBLE  # it may be the app that needs the cookie
    return Confidence.CONFIRMED if len(bare) > 1 else Confidence.LIKELY


CHECK = Check(
    RULE,
    "works only thanks to stickiness",
    Mode.LOGIN,
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html",
    answer,
)
