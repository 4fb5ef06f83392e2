"""L11: calls from another origin do not carry the sticky cookie.

A page of another origin calls this one. Browsers add the sticky cookie only if it is SameSite=None and
Secure, and if the answer allows credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L11"


def answer(evidence: Evidence) -> Answer:
    """Look at balancers' cookies of a site that answers other origins."""
    if evidence.first is None:
        return NotTested("the page was not read")
    cors = [visit for visit in evidence.all_visits() if visit.allows_credentials is not None]
    names = set(evidence.balancer_cookies)
    if not cors:
        return RuledOut("no answer speaks to other origins")
    if not names:
        return RuledOut("no response sets a balancer's cookie")
    is_sent = any(each.name in names and each.same_site == "none" for each in evidence.set_cookies)
    if is_sent and all(visit.allows_credentials for visit in cors):
        return RuledOut("the sticky cookie goes to calls from other origins")
    missing = "no answer allows credentials" if is_sent else "none of its forms is SameSite=None"
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        evidence=(f"answers have Access-Control-Allow-Origin, and of the sticky cookie {missing}",),
        users_see="calls from another origin reach a server that does not know them",
        fix="Enable the twin for other origins (AWSALBCORS, ApplicationGatewayAffinityCORS), "
        "call with credentials, "
        "and answer Access-Control-Allow-Credentials: true",
    )


CHECK = Check(
    RULE,
    "calls from another origin do not carry the sticky cookie",
    Mode.LINT,
    "https://learn.microsoft.com/EN-US/AZURE/application-gateway/configuration-http-settings",
    answer,
)
