"""S2: the store is full and writes fail.

The store takes no more keys (Redis: noeviction and maxmemory reached). Pages that only read are fine, old
sessions too, and nobody can log in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "S2"


def answer(evidence: Evidence) -> Answer:
    """Look for logins that end in an error of the server, or have no effect."""
    tried = [login for login in evidence.logins if login.submit is not None]
    if not tried:
        return NotTested("no login was made")
    broken = [login for login in tried if login.submit is not None and login.submit.status >= 500]
    readable = any(visit.status < 500 for visit in evidence.anonymous)
    if broken and readable:
        status = broken[0].submit.status if broken[0].submit else 500
        return _finding(Severity.ERROR, f"the login was answered {status}, while pages are answered well")
    if signs.never_in(evidence) and _keeps_its_cookie(evidence):
        return _finding(
            Severity.NOTE, "the login was accepted and its cookie is sent, and every page is a stranger's"
        )
    return RuledOut("logins are stored")


def _keeps_its_cookie(evidence: Evidence) -> bool:
    names = signs.auth_names(evidence)
    visits = [visit for arm in signs.browser_arms(evidence) for visit in arm.visits]
    between = signs.behind_cdn(evidence) or any(visit.cache.cache for visit in visits)
    return not between and all(any(name in names for name, _ in visit.sent) for visit in visits)


def _finding(severity: Severity, seen: str) -> Finding:
    return Finding(
        rule=RULE,
        severity=severity,
        confidence=Confidence.LIKELY if severity is Severity.ERROR else Confidence.POSSIBLE,
        evidence=(seen,),
        users_see="nobody can log in, while those who are in notice nothing",
        fix="Give the store more memory and an alert before it is full; limpet sessions check looks at it",
        rivals=("S6", "S10"),
        decide_by="the app's log at the moment of the login (Redis: OOM, READONLY or MOVED)",
    )


CHECK = Check(
    RULE,
    "the store is full and writes fail",
    Mode.LOGIN,
    "https://github.com/sourcegraph/sourcegraph-public-snapshot/issues/296",
    answer,
)
