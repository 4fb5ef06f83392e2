"""A14: a cross-site POST arrives without the cookie.

An identity provider or a payment returns by a POST from its own site. Browsers do not add a SameSite=Lax
cookie to it, so the app sees a stranger, and may overwrite the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A14"


def answer(evidence: Evidence) -> Answer:
    """Look for logins by form_post with cookies that do not come along."""
    if evidence.first is None:
        return NotTested("the page was not read")
    if not any(visit.page.has_form_post for visit in evidence.all_visits()):
        return RuledOut("no page posts to another site's login")
    for each in evidence.session_cookies:
        if each.same_site in {"", "lax", "strict"}:
            return Finding(
                rule=RULE,
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                evidence=(
                    "a page posts to another site's login (SAML or form_post)",
                    f"cookie {each.name!r} has SameSite={each.same_site or 'Lax (the default)'}",
                ),
                users_see="a logout, or an error, on the way back from the other site",
                fix="Take the answer at a page that only redirects by GET, and carry state in RelayState; "
                "SameSite=None for one short-lived cookie of the flow, not for the session",
            )
    return RuledOut("the session's cookie comes along with cross-site POSTs")


CHECK = Check(
    RULE,
    "a cross-site POST arrives without the cookie",
    Mode.LINT,
    "https://github.com/laravel/framework/issues/31992",
    answer,
)
