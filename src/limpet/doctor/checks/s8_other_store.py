"""S8: one replica uses another store, database or prefix.

One server looks for sessions in another place: a database index, a prefix, a host. A login on one of the
others is lost on it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "S8"


def answer(evidence: Evidence) -> Answer:
    """Take an odd replica with opaque cookies for another store."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if signs.flap_cause(evidence) is not signs.FlapCause.ODD_REPLICA:
        return RuledOut("the replicas that were seen treat sessions alike")
    if signs.is_signed(evidence):
        return RuledOut("the session is in its cookie and in no store")
    arms = signs.frozen_arms(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if signs.home_only(evidence) else Confidence.LIKELY,
        evidence=tuple(filter(None, (signs.loss_by_login(evidence), signs.home_only(evidence)))),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads, more for some users "
        "than for others",
        fix="Compare the session store's URL, database and prefix on all servers",
        rivals=("A6",),
        decide_by="the store's address in the configuration of each server",
    )


CHECK = Check(
    RULE,
    "one replica uses another store, database or prefix",
    Mode.LOGIN,
    "https://github.com/padrino/padrino-framework/issues/2109",
    answer,
)
