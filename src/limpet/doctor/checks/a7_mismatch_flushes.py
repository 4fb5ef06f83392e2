"""A7: replicas share the store and not the key, and a mismatch ends the session.

The session is in a store that all read, together with a hash made with a key (Django's session auth hash).
A server with another key takes the mismatch for a changed password and deletes the session for everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import Pattern
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import shared_secret

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A7"


def answer(evidence: Evidence) -> Answer:
    """Look for sessions that die early and for good, at every login."""
    untested = signs.may_judge_frozen(evidence)
    if untested:
        return NotTested(untested)
    if not signs.dies_at_first_stranger(evidence):
        return RuledOut("unchanged cookies were not out for good after a few visits")
    browsers = signs.browser_arms(evidence)
    if any(arm.pattern is Pattern.OK for arm in browsers):
        return RuledOut("a browser stayed in")
    arms = signs.frozen_arms(evidence)
    logins = len({arm.login for arm in arms})
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.CONFIRMED if logins > 1 else Confidence.LIKELY,
        evidence=(
            (
                f"unchanged cookies are out for good after {_visits(evidence)} visits, at each of "
                f"{logins} logins"
            ),
            "a browser's session ends as early",
        ),
        users_see="a logout for good within a few page loads",
        fix=shared_secret(evidence.products),
        location=signs.place(evidence, "secret_made_at_import"),
    )


def _visits(evidence: Evidence) -> str:
    return ", ".join(str(signs.first_out(arm)) for arm in signs.frozen_arms(evidence) if arm.ins)


CHECK = Check(
    RULE,
    "replicas share the store and not the key, and a mismatch ends the session",
    Mode.LOGIN,
    "https://github.com/django/django/blob/main/django/contrib/auth/__init__.py",
    answer,
)
