"""A2: a database or session files of each machine's own.

An SQLite file or a session folder on each machine. Unlike memory it also keeps users: the same name and
password are good on one machine and unknown on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence, Login
    from limpet.doctor.finding import Answer

RULE = "A2"


def answer(evidence: Evidence) -> Answer:
    """Look for a login that is accepted once and refused another time."""
    tried = [login for login in evidence.logins if login.submit is not None]
    if len(tried) < 2:
        return NotTested("fewer than two logins were made")
    accepted = [login for login in tried if login.is_accepted]
    refused = [login for login in tried if not login.is_accepted and _is_refusal(login)]
    if not accepted or not refused:
        return RuledOut("the site treats every login alike")
    homes = {login.home for login in tried if login.home}
    seen = [f"the same credentials were accepted {len(accepted)} times and refused {len(refused)} times"]
    if len(homes) > 1:
        seen.append(f"replicas {', '.join(sorted(homes))} took the logins")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=tuple(seen),
        users_see="the right password is refused now and then, and pages are logged out by turns",
        fix="Use one database over the network for users and sessions, or one machine",
    )


def _is_refusal(login: Login) -> bool:
    visit = login.submit
    return visit is not None and 0 < visit.status < 500 and visit.status != 429 and not visit.page.says_csrf


CHECK = Check(
    RULE,
    "a database or session files of each machine's own",
    Mode.LOGIN,
    "https://fly.io/docs/deep-dive/application",
    answer,
)
