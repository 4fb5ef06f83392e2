"""L13: a CDN shares connections among users, and the balancer sticks by connection or address.

A CDN speaks for all users from few addresses and over shared connections. A balancer behind it that sticks
by address or connection mixes users up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L13"


def answer(evidence: Evidence) -> Answer:
    """Look for flapping sessions behind a CDN."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if not signs.behind_cdn(evidence):
        return RuledOut("no CDN stands in front")
    if signs.flap_cause(evidence) is not signs.FlapCause.STATE:
        return RuledOut("no session depends on which server answers")
    arms = signs.flapping(evidence)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.POSSIBLE,
        evidence=(f"{', '.join(signs.behind_cdn(evidence))} stands in front", signs.shown_arms(arms)),
        users_see=f"a logout on about {signs.loss_share(arms)} of page loads",
        fix="Stick by a cookie, or by the header in which the CDN names the client (CF-Connecting-IP)",
        rivals=("A1",),
        decide_by="limpet doctor with --resolve and the address of the balancer behind the CDN",
    )


CHECK = Check(
    RULE,
    "a CDN shares connections among users, and the balancer sticks by connection or address",
    Mode.LOGIN,
    "https://support.kemptechnologies.com/hc/en-us/articles/9503447543309-How-to-configure-persistence-for-CloudFlare-s-proxy",
    answer,
)
