"""S10: a cluster is used without a cluster client.

A client that does not follow MOVED reaches only part of a cluster's slots. Which part decides the session's
id: some logins never work, others always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks.check import Check
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "S10"


def answer(evidence: Evidence) -> Answer:
    """Look for logins that are lost from the first visit on, beside others that hold."""
    untested = signs.may_judge_login(evidence)
    if untested:
        return NotTested(untested)
    kept, lost = signs.fixed_per_login(evidence)
    if not kept or not lost:
        return RuledOut("no login was lost from its first visit on, beside others that held")
    if signs.depends_on_home(evidence, kept, lost):
        return RuledOut("which login works depends on the replica that took it (L8)")
    return Finding(
        rule=RULE,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        evidence=(f"logins {sorted(kept)} were always in, logins {sorted(lost)} never",),
        users_see="logging in does not work at the first try, and then holds",
        fix="Use the client's cluster mode (limpet: redis+cluster://), or a store of one node",
        rivals=("L8",),
        decide_by="the app's log at a login that does not work (MOVED)",
    )


CHECK = Check(
    RULE,
    "a cluster is used without a cluster client",
    Mode.LOGIN,
    "https://github.com/gin-contrib/sessions/issues/211",
    answer,
)
