"""L12: two balancers in series use one cookie name.

Each tier sets its cookie under the same name, so the browser keeps the last, and the other tier reads what
it did not write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L12"


def answer(evidence: Evidence) -> Answer:
    """Look for a balancer's cookie that one response sets twice."""
    names = set(evidence.balancer_cookies)
    if not names:
        return NotTested("no response sets a balancer's cookie")
    for visit in evidence.all_visits():
        for name in names:
            values = {each.digest for each in visit.set_cookies if each.name == name and not each.is_deletion}
            if len(values) > 1:
                return Finding(
                    rule=RULE,
                    severity=Severity.ERROR,
                    confidence=Confidence.CONFIRMED,
                    evidence=(f"one response sets {name!r} to {len(values)} values",),
                    users_see="a logout whenever the two tiers disagree",
                    fix="Give each tier's sticky cookie a name of its own",
                )
    return RuledOut("no response sets a balancer's cookie twice")


CHECK = Check(
    RULE,
    "two balancers in series use one cookie name",
    Mode.LINT,
    "https://learn.microsoft.com/en-us/azure/application-gateway/how-to-troubleshoot-application-gateway-session-affinity-issues",
    answer,
)
