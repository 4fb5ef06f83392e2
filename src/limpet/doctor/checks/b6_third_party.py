"""B6: the cookie is blocked when the site is framed.

A site that is shown within another one is a third party there. Browsers block its cookies unless they are
partitioned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "B6"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that are meant to be framed and not partitioned."""
    if evidence.first is None:
        return NotTested("the page was not read")
    meant = [each for each in evidence.session_cookies if each.same_site == "none" and each.is_secure]
    if not meant or not evidence.first.page.may_be_framed:
        return RuledOut("the session is not made for frames of other sites")
    if any(each.is_partitioned for each in meant):
        return RuledOut("the session's cookie is partitioned")
    return Finding(
        rule=RULE,
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        evidence=(
            f"cookie {meant[0].name!r} is SameSite=None and not Partitioned, and the page may be framed",
        ),
        users_see="they cannot log in where the site is shown within another one",
        fix="Add Partitioned (CHIPS), or ask by the Storage Access API; if it is never framed, "
        "use SameSite=Lax",
    )


CHECK = Check(
    RULE,
    "the cookie is blocked when the site is framed",
    Mode.LINT,
    "https://github.com/metabase/metabase/issues/42170",
    answer,
)
