"""S12: starting the app empties the session store.

A cache that is cleared at start, a database that is made anew, files in a folder that a release
brings along: the secret is the same, the id in the cookie as well, and nobody knows it any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs, trials
from limpet.doctor.checks.a4_secret_per_deploy import CHANGED
from limpet.doctor.checks.a31_name_of_release import RENAMED
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "S12"


def answer(evidence: Evidence) -> Answer:
    """Take sessions that a restart ends, and no key or name, for a store that was emptied."""
    untested = trials.needs(evidence, TrialKind.RESTART_ALL)
    trial = evidence.trial(TrialKind.RESTART_ALL)
    if untested or trial is None:
        return NotTested(untested)
    if not trials.lost(trial.after):
        return RuledOut("the session survived a restart of every replica")
    if evidence.facts.get(CHANGED) or evidence.facts.get(RENAMED) or signs.is_signed(evidence):
        return RuledOut("another explanation fits better: the key or the cookie's name changed")
    one = evidence.trial(TrialKind.RESTART_ONE)
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        evidence=(trials.shown(trial), "neither a secret nor the cookie's name changed"),
        users_see="everybody is logged out by each deploy and restart",
        fix="Do not clear the cache or the table of sessions when the app starts; give sessions a store\n"
        "or a database number of their own, which no deploy flushes",
        rivals=("A30",) if one is not None and trials.lost(one.after) else (),
    )


CHECK = Check(
    RULE,
    "the store is flushed on deploy",
    Mode.CHECK,
    "https://github.com/Leantime/Leantime/pull/3604",
    answer,
)
