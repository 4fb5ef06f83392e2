"""A25: a login form is refused when another replica takes it.

The form's token was made by one server and is checked by another, which does not know the session or has
another key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A25"


def answer(evidence: Evidence) -> Answer:
    """Look for login forms that were refused before anybody looked at the credentials."""
    tried = [login for login in evidence.logins if login.submit is not None]
    if not tried:
        return NotTested("no login form was sent")
    refused = [
        login for login in tried if not login.is_accepted and login.submit and login.submit.page.says_csrf
    ]
    if not refused:
        return RuledOut("no login form was refused for its token")
    accepted = len(tried) - len(refused)
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if accepted else Confidence.LIKELY,
        evidence=(f"the login form was refused for its token {len(refused)} of {len(tried)} times",),
        users_see="an error about a forged or expired form when they log in",
        fix="Let all servers share the key and the store that the token depends on",
        rivals=("A1", "A3"),
        decide_by="limpet check MODULE:APP",
    )


CHECK = Check(
    RULE,
    "a login form is refused when another replica takes it",
    Mode.LOGIN,
    "https://github.com/greenpau/caddy-security/issues/188",
    answer,
)
