"""A18: the cookies are larger than a server takes.

Each cookie is within bounds, together they are more than a server or balancer accepts as a header: 400 or
431, for users with many cookies only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import ArmKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A18"


_TOO_LARGE = frozenset({400, 413, 431, 494})
_NEAR_BYTES = 7000


def answer(evidence: Evidence) -> Answer:
    """Look for refusals of visits with cookies, and at the size of the header."""
    strangers = {visit.status for visit in evidence.anonymous}
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.BURST, ArmKind.LENIENT)
    visits = [visit for arm in arms for visit in arm.visits if visit.sent]
    if not visits:
        return NotTested("no visit with a session was made")
    refused = [visit for visit in visits if visit.status in _TOO_LARGE - strangers]
    largest = max(visit.header_bytes for visit in visits)
    if refused:
        return Finding(
            rule=RULE,
            severity=Severity.ERROR,
            confidence=Confidence.CONFIRMED if largest > _NEAR_BYTES / 2 else Confidence.LIKELY,
            evidence=(
                f"{len(refused)} of {len(visits)} visits with cookies were answered {refused[0].status}",
                "none without cookies was",
                f"the cookies have {max(visit.header_bytes for visit in refused)} bytes together",
            ),
            users_see="an error page instead of the site, until they clear their cookies",
            fix="Keep data on the server, drop cookies that nobody reads; only then raise the server's limit",
        )
    if largest > _NEAR_BYTES:
        return Finding(
            rule=RULE,
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            evidence=(f"the cookies have {largest} bytes together; many servers take 8192",),
            users_see="an error page instead of the site, for users with more cookies",
            fix="Keep data on the server, drop cookies that nobody reads",
        )
    return RuledOut(f"the cookies have at most {largest} bytes together")


CHECK = Check(
    RULE,
    "the cookies are larger than a server takes",
    Mode.LOGIN,
    "https://github.com/codelitdev/courselit/issues/796",
    answer,
)
