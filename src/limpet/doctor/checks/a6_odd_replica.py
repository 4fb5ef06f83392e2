"""A6: one replica differs from the others.

One server has another key or configuration. A login on one of the others is lost on it alone; a login on it
is lost everywhere else. So two logins lose at different rates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A6"


def answer(evidence: Evidence) -> Answer:
    """Take an odd replica with signed cookies for another key."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if signs.flap_cause(evidence) is not signs.FlapCause.ODD_REPLICA:
        return RuledOut("the replicas that were seen treat sessions alike")
    if not signs.is_signed(evidence):
        return RuledOut("the cookie carries no data, so the store is the difference (S8)")
    arms = signs.frozen_arms(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if signs.home_only(evidence) else Confidence.LIKELY,
        evidence=tuple(filter(None, (signs.loss_by_login(evidence), signs.home_only(evidence)))),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads, more for some users "
        "than for others",
        fix="Compare the configuration of all servers, the signing key first; limpet check "
        "compares hashes of secrets",
        rivals=("A3",),
        decide_by="a hash of the key on each server",
    )


CHECK = Check(
    RULE,
    "one replica differs from the others",
    Mode.LOGIN,
    "https://github.com/padrino/padrino-framework/issues/2109",
    answer,
)
