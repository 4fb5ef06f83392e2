"""A9: the servers' clocks differ.

A server whose clock is behind takes a fresh token for one from the future and refuses it for some seconds;
one whose clock is ahead ends sessions early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A9"


def answer(evidence: Evidence) -> Answer:
    """Compare Date headers and times in cookies, and look for sessions that are out while young."""
    skew_s = signs.skew_s(evidence)
    if not skew_s:
        enough = len(signs.clock_offsets_s(evidence)) >= 4
        return (
            RuledOut("the servers' clocks agree") if enough else NotTested("no answer tells a server's time")
        )
    is_young = signs.flap_cause(evidence) is signs.FlapCause.YOUTH
    seen = [f"the servers' clocks differ by about {skew_s:.0f} s"]
    if is_young:
        seen.append("sessions are out only in the first seconds after a login")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR if is_young else Severity.WARNING,
        confidence=Confidence.CONFIRMED if is_young else Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="a logout right after logging in" if is_young else "sessions that end early, or begin late",
        fix="Run a time service (chrony) on every server, and allow some seconds of leeway where "
        "tokens are checked",
    )


CHECK = Check(
    RULE,
    "the servers' clocks differ",
    Mode.LOGIN,
    "https://github.com/tymondesigns/jwt-auth/issues/1053",
    answer,
)
