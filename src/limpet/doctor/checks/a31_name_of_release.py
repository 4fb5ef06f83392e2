"""A31: the cookie or key name changes with each release.

The cookie's name is derived from a path or version, which changes at each deploy. The old cookie is still
there, and nobody reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A31"


def answer(evidence: Evidence) -> Answer:
    """Compare the cookies of logins before and after a session ended under watch."""
    ended = signs.ended_while_watched(evidence)
    if ended is None:
        return NotTested("nobody deployed meanwhile; --watch 10m looks on")
    if not ended:
        return RuledOut("the watched session did not end")
    new = signs.new_names(evidence)
    if not new:
        return RuledOut("the cookie's name is the same after the deploy")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED,
        evidence=(f"before the session ended the cookie had another name; now it is {min(new)!r}",),
        users_see="everybody is logged out at each deploy",
        fix="Give the cookie a fixed name",
    )


CHECK = Check(
    RULE,
    "the cookie or key name changes with each release",
    Mode.TIME,
    "https://github.com/padrino/padrino-framework/issues/2109",
    answer,
)
