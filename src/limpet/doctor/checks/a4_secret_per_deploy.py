"""A4: the signing key is made anew at each start.

Each start makes a new key, so every cookie that was signed before is forged from then on. New logins are
fine until the next deploy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import shared_secret

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A4"


def answer(evidence: Evidence) -> Answer:
    """Look for signed sessions that all end while somebody deploys, though new logins hold."""
    if signs.ended_while_watched(evidence) is None:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on, and limpet check restarts the app")
    if not signs.ended_while_watched(evidence):
        return RuledOut("the watched session did not end")
    if not signs.is_signed(evidence):
        return RuledOut("the cookie carries no data, so no key decides")
    if signs.new_names(evidence):
        return RuledOut("the cookie's name has changed (A31)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"a signed session ended for good: {signs.watched(evidence)}",
            "a new login holds",
        ),
        users_see="everybody is logged out at each deploy",
        fix=shared_secret(evidence.products),
    )


CHECK = Check(
    RULE,
    "the signing key is made anew at each start",
    Mode.TIME,
    "https://canolcer.com/post/rails-prevent-users-from-logging-out/",
    answer,
)
