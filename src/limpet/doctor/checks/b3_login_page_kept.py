"""B3: the browser keeps the login page or a redirect to it.

A permanent redirect to the login page, or a page that may be kept, stays in the browser: after logging in
it shows what it has kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence, Visit
    from limpet.doctor.finding import Answer

RULE = "B3"


def answer(evidence: Evidence) -> Answer:
    """Look at how the stranger's page may be kept."""
    visit = evidence.first
    if visit is None:
        return NotTested("the page was not read")
    if visit.status in {301, 308} and "no-store" not in visit.cache.control:
        seen = f"strangers are redirected for good ({visit.status}) to {visit.location}"
    elif visit.status in {200, 302, 303, 307} and _is_kept(visit) and evidence.oracle:
        seen = f"the page that differs when logged in has Cache-Control: {visit.cache.control}"
    else:
        return RuledOut("browsers do not keep the stranger's page")
    if not evidence.oracle and not visit.page.has_password_field and "login" not in visit.location:
        return RuledOut("nothing says that the page depends on the user")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        evidence=(seen,),
        users_see="the login page again after logging in, until a hard reload",
        fix="Redirect to the login with 302 or 303, and answer pages that depend on the user with "
        "Cache-Control: private, no-store",
    )


def _is_kept(visit: Visit) -> bool:
    return re.search(r"(?<!s-)max-age=[1-9]", visit.cache.control) is not None and not re.search(
        r"no-store|no-cache", visit.cache.control
    )


CHECK = Check(
    RULE,
    "the browser keeps the login page or a redirect to it",
    Mode.LINT,
    "https://github.com/nasa-gcn/gcn.nasa.gov/pull/2716",
    answer,
)
