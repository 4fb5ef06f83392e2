"""B7: partitioned and unpartitioned cookies of one name.

A partitioned cookie and one of the same name that is not are two cookies. Browsers send both, and deleting
one leaves the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "B7"


def answer(evidence: Evidence) -> Answer:
    """Look for a name that is set with Partitioned and without."""
    if evidence.first is None:
        return NotTested("the page was not read")
    kinds: dict[str, set[bool]] = {}
    for each in evidence.set_cookies:
        kinds.setdefault(each.name, set()).add(each.is_partitioned)
    twins = sorted(name for name, found in kinds.items() if len(found) > 1)
    if not twins:
        return RuledOut("no cookie is set with Partitioned and without")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED,
        evidence=(f"cookie {twins[0]!r} is set with Partitioned and without",),
        users_see="logging out does not work, or an old session comes back",
        fix="Set it one way, and delete the other form once: the deletion needs Partitioned "
        "exactly if the cookie has it",
    )


CHECK = Check(
    RULE,
    "partitioned and unpartitioned cookies of one name",
    Mode.LINT,
    "https://github.com/privacycg/CHIPS/issues/88",
    answer,
)
