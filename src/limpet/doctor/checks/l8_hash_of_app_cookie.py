"""L8: stickiness hashes the app's cookie, which the login changes.

The balancer hashes the session's id. The login makes a new id, whose hash leads to another server than the
one that took the login; so a login works or not as its hash falls, and stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "L8"


def answer(evidence: Evidence) -> Answer:
    """Look for logins that only work where their visits reach the replica that took them."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    kept, lost = signs.fixed_per_login(evidence)
    if not kept or not lost:
        return RuledOut("no login was lost from its first visit on, beside others that held")
    if not signs.depends_on_home(evidence, kept, lost):
        return RuledOut("which login works does not depend on the replica that took it")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(
            f"logins {sorted(kept)} always in, logins {sorted(lost)} never",
            "a login holds if its visits reach the replica that took it, and only then",
        ),
        users_see="logging in does not work at the first try, sometimes not at the second",
        fix="Stick by a cookie of the balancer's own (limpet's lb_cookie) and not by the app's",
    )


CHECK = Check(
    RULE,
    "stickiness hashes the app's cookie, which the login changes",
    Mode.LOGIN,
    "https://github.com/istio/istio/issues/16937",
    answer,
)
