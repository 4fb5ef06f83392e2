"""L9: the platform sticks only for a cookie name that the app does not use.

Cloud Foundry's router pins a session only if the app's cookie has a name from its list, JSESSIONID unless
configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L9"


def answer(evidence: Evidence) -> Answer:
    """Look for Cloud Foundry without its cookie."""
    if evidence.first is None:
        return NotTested("the page was not read")
    if "Cloud Foundry" not in evidence.products:
        return RuledOut("the platform is not Cloud Foundry")
    if any(each.name == "__VCAP_ID__" for each in evidence.set_cookies):
        return RuledOut("the router sets __VCAP_ID__")
    names = [each.name for each in evidence.session_cookies]
    if not names:
        return NotTested("the app has set no session cookie")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        evidence=(f"the app's cookie is {names[0]!r}, and no __VCAP_ID__ comes with it",),
        users_see="a logout whenever another instance answers",
        fix="Rename the app's cookie to JSESSIONID, add its name to the router's list, or use a shared store",
    )


CHECK = Check(
    RULE,
    "the platform sticks only for a cookie name that the app does not use",
    Mode.LINT,
    "https://www.github.com/cloudfoundry/routing-release/issues/369",
    answer,
)
