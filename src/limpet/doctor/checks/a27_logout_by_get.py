"""A27: logging out is a plain link, which may be prefetched.

Browsers, frameworks and mail scanners fetch links before anybody clicks. A link that logs out does it when
it is fetched. It was never followed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import Outcome
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A27"


def answer(evidence: Evidence) -> Answer:
    """Look for links that log out."""
    visits = [
        visit for visit in evidence.all_visits() if visit.outcome is Outcome.IN or visit.page.logout_links
    ]
    if not visits:
        return NotTested("no page of somebody logged in was seen")
    linked = [visit for visit in visits if visit.page.logout_links and not visit.page.has_logout_form]
    if not linked:
        return RuledOut("no page logs out by a plain link")
    return Finding(
        rule=RULE,
        severity=Severity.NOTE,
        confidence=Confidence.POSSIBLE,
        evidence=(f"{linked[0].path} links to {linked[0].page.logout_links[0]}",),
        users_see="a logout that nobody asked for, when something fetches the link ahead",
        fix="Log out by POST, from a form; and mark the link so that it is not prefetched",
        location=signs.place(evidence, "logout_route"),
    )


CHECK = Check(
    RULE,
    "logging out is a plain link, which may be prefetched",
    Mode.LINT,
    "https://github.com/vercel/next.js/issues/38128",
    answer,
)
