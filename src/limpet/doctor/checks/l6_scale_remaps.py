"""L6: a change of scale remaps pinned users.

The balancer's cookie is a key into a ring and not a target's name. When a target comes or goes, part of the
keys lead elsewhere, though the cookie has not changed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L6"


def answer(evidence: Evidence) -> Answer:
    """Look for another replica behind an unchanged balancer's cookie where a watched session ends."""
    watched = [arm for arm in evidence.arms_of(ArmKind.WATCH) if arm.note != "new login"]
    if not watched:
        return NotTested("nobody changed the scale meanwhile; --watch 10m looks on")
    names = set(evidence.balancer_cookies)
    for arm in watched:
        for before, after in pairwise(arm.clear):
            is_lost = before.outcome is Outcome.IN and after.outcome is Outcome.OUT
            is_moved = before.replica and after.replica and before.replica != after.replica
            sent = {name: digest for name, digest in after.sent if name in names}
            is_same = sent and sent.items() <= dict(before.sent).items()
            if is_lost and is_moved and is_same and not any(each.name in names for each in after.set_cookies):
                return Finding(
                    rule=RULE,
                    severity=Severity.ERROR,
                    confidence=Confidence.LIKELY,
                    evidence=(
                        (
                            f"with one balancer's cookie, replica {before.replica} answered, then "
                            f"{after.replica}"
                        ),
                        f"watched: {arm.sequence}",
                    ),
                    users_see="part of the users is logged out whenever a server comes or goes",
                    fix="Let the cookie name the target (limpet's lb_cookie does), or keep "
                    "sessions in a shared store",
                )
    return RuledOut("no watched session moved under an unchanged balancer's cookie")


CHECK = Check(
    RULE,
    "a change of scale remaps pinned users",
    Mode.TIME,
    "https://github.com/istio/istio/issues/37910",
    answer,
)
