"""A20: parallel requests race while the session id rotates.

Each request gets a new id and ends the old one. Of parallel requests all but the first come with an id that
is over, and the browser keeps whichever answer comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A20"


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
    if signs.is_token(evidence):
        return RuledOut("the session is a token that is renewed (A23)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=tuple(lost),
        users_see="a logout when a page loads its parts, or in two tabs at once",
        fix="Let the old id live for some seconds after a rotation, and rotate at login only",
    )


CHECK = Check(
    RULE,
    "parallel requests race while the session id rotates",
    Mode.LOGIN,
    "https://docs.phplang.net/en/function.session-regenerate-id.php",
    answer,
)
