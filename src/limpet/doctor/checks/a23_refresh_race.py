"""A23: parallel refreshes of a token race.

Parallel requests renew a token with the same refresh token. The first wins; the others are refused, and
their answer deletes the winner's cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A23"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that a burst of parallel requests ends."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    lost = signs.lost_in_burst(evidence)
    if lost is None:
        return NotTested("no session was left for parallel visits")
    if not lost:
        return RuledOut("a session survives parallel visits")
    if not signs.is_token(evidence):
        return RuledOut("the session is no token that is renewed (A20)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=tuple(lost),
        users_see="a logout when a page loads its parts, or in two tabs at once",
        fix="Renew once for all parallel requests, accept the last refresh token for some "
        "seconds, never delete cookies on a lost race",
    )


CHECK = Check(
    RULE,
    "parallel refreshes of a token race",
    Mode.LOGIN,
    "https://github.com/nightscout/nocturne/pull/391",
    answer,
)
