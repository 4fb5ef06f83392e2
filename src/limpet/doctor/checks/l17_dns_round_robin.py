"""L17: DNS names several addresses that do not share sessions.

A name with several addresses, each with its own servers. A browser changes the address when it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L17"


def answer(evidence: Evidence) -> Answer:
    """Compare one session at each address."""
    if evidence.preflight is not None and len(evidence.preflight.addresses) < 2:
        return RuledOut("the name has one address")
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    arms = evidence.arms_of(ArmKind.ADDRESS)
    if len(arms) < 2:
        return NotTested("the addresses were not visited one by one")
    if not signs.split_by_address(evidence):
        return RuledOut("no session depends on the address")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=tuple(f"at {arm.note}: {signs.shown_arms([arm])}" for arm in arms),
        users_see="a logout whenever their browser takes another address of the name",
        fix="Put one balancer in front of all servers, or let them share a session store",
    )


CHECK = Check(
    RULE,
    "DNS names several addresses that do not share sessions",
    Mode.LOGIN,
    "https://serverfault.com/questions/349964/dns-round-robin-do-browsers-stick-to-one-ip-as-long-as-it-is-online/852421",
    answer,
)
