"""S3: the store was emptied by a restart or failover.

A store without persistence forgets everything when it restarts, and so does a failover to an empty one, or
a flush on deploy. All sessions end at one instant; new ones hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "S3"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions of the store that all end under watch, though new logins hold."""
    ended = signs.ended_while_watched(evidence)
    if ended is None:
        return NotTested("nobody deployed or restarted meanwhile; --watch 10m looks on")
    if not ended:
        return RuledOut("the watched session did not end")
    if signs.is_signed(evidence):
        return RuledOut("the session is in its cookie and in no store")
    if signs.new_names(evidence):
        return RuledOut("the cookie's name has changed (A31)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(f"a session ended for good: {signs.watched(evidence)}", "a new login holds"),
        users_see="everybody is logged out at one moment",
        fix="Let the store keep its data over a restart (Redis: appendonly yes, a replica), give "
        "sessions a database "
        "that no deploy flushes, and keep none in processes' memory",
        rivals=("S12", "A30", "L4"),
        decide_by="restart the app and the store one after the other, each with --watch",
    )


CHECK = Check(
    RULE,
    "the store was emptied by a restart or failover",
    Mode.TIME,
    "https://adil.medium.com/storing-sessions-in-memcache-the-pitfalls-ec1a3f1685fb",
    answer,
)
