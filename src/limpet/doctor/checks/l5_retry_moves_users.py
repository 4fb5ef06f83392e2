"""L5: a retry moves users to another target.

After a slow answer or an error of its target the balancer tries another one and pins the user there, where
nobody knows him.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence, Visit
    from limpet.doctor.finding import Answer

RULE = "L5"


_SLOW_S = 3.0


def answer(evidence: Evidence) -> Answer:
    """Look for a new balancer's cookie right after trouble, followed by visits that are out."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    names = set(evidence.balancer_cookies)
    if not names:
        return RuledOut("no response sets a balancer's cookie")
    for arm in evidence.arms_of(ArmKind.JAR, ArmKind.TOUCHED, ArmKind.WATCH):
        for trouble, after in pairwise(arm.visits):
            was_slow = trouble.status >= 500 or trouble.took_s > _SLOW_S
            moved = any(each.name in names for visit in (trouble, after) for each in visit.set_cookies)
            if was_slow and moved and after.outcome is Outcome.OUT:
                return _finding(trouble)
    return RuledOut("no session ended after an error or a slow answer")


def _finding(trouble: Visit) -> Finding:
    what = f"an answer {trouble.status}" if trouble.status >= 500 else f"an answer of {trouble.took_s:.1f} s"
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(f"after {what} the balancer set a new cookie, and the session was out",),
        users_see="a logout after a slow page or an error",
        fix="Do not retry pinned requests on another target, or keep sessions in a shared store",
    )


CHECK = Check(
    RULE,
    "a retry moves users to another target",
    Mode.LOGIN,
    "https://github.com/kubernetes/ingress-nginx/pull/4048",
    answer,
)
