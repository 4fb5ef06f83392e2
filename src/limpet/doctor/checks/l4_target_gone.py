"""L4: a target went away and took its sessions along.

While somebody deploys, the balancer sends a session elsewhere and says so by a new cookie; the new server
does not know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L4"


def answer(evidence: Evidence) -> Answer:
    """Look for a new balancer's cookie where a watched session ends."""
    watched = [arm for arm in evidence.arms_of(ArmKind.WATCH) if arm.note != "new login"]
    if not watched:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on")
    names = set(evidence.balancer_cookies)
    for arm in watched:
        number = signs.first_out(arm)
        if number is None or not any(visit.outcome is Outcome.IN for visit in arm.clear[:number]):
            continue
        around = arm.clear[max(number - 1, 0) : number + 1]
        moved = [each for visit in around for each in visit.set_cookies if each.name in names]
        if moved:
            return Finding(
                rule=RULE,
                severity=Severity.ERROR,
                confidence=Confidence.LIKELY,
                evidence=(
                    f"the session ended when the balancer replaced its cookie {moved[0].name!r}",
                    f"watched: {arm.sequence}",
                ),
                users_see="everybody on a server is logged out when it goes away",
                fix="Drain servers before they go (limpet drain NAME --wait), and keep sessions "
                "in a shared store",
            )
    return RuledOut("no watched session ended together with a change of the balancer's cookie")


CHECK = Check(
    RULE,
    "a target went away and took its sessions along",
    Mode.TIME,
    "https://www.mail-archive.com/haproxy@formilux.org/msg45576.html",
    answer,
)
