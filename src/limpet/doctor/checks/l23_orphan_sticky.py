"""L23: the sticky cookie and the session cookie live differently long.

A site that needs stickiness loses a session when either cookie ends. If the sticky one ends first, the
session that is left leads nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import CookieFact, Evidence
    from limpet.doctor.finding import Answer

RULE = "L23"


#: Balancers that decide the lifetime themselves, whatever their cookie says.
_OWN_LIFETIME = frozenset({"AWS ALB", "limpet"})


def answer(evidence: Evidence) -> Answer:
    """Compare lifetimes, where sessions depend on stickiness."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if not signs.pinned_only(evidence):
        return RuledOut("sessions do not depend on the balancer's cookie")
    sticky = [each for each in evidence.set_cookies if each.name in evidence.balancer_cookies]
    for cookie in sticky:
        for session in evidence.session_cookies:
            difference = _difference(cookie, session)
            if difference:
                return Finding(
                    rule=RULE,
                    severity=Severity.WARNING,
                    confidence=Confidence.LIKELY,
                    evidence=(f"{cookie.name!r} and {session.name!r}: {difference}",),
                    users_see="a logout when the sticky cookie ends, though the session would go on",
                    fix="Give the sticky cookie the lifetime and attributes of the session's "
                    "(limpet's app_cookie stickiness does)",
                )
    return RuledOut("the two cookies live equally long")


def _difference(sticky: CookieFact, session: CookieFact) -> str:
    if sticky.is_partitioned != session.is_partitioned:
        return "only one of them is Partitioned"
    if sticky.reading is not None and sticky.reading.product in _OWN_LIFETIME:
        return ""
    mine, other = sticky.lifetime_s, session.lifetime_s
    if mine is not None and other is not None and mine < 0.9 * other:
        return f"the first lives {mine:.0f} s, the second {other:.0f} s"
    return ""


CHECK = Check(
    RULE,
    "the sticky cookie and the session cookie live differently long",
    Mode.LINT,
    "https://github.com/cloudfoundry/routing-release/issues/429",
    answer,
)
