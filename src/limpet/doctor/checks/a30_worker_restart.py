"""A30: a worker ends and its sessions with it, though other workers know them while it lives.

Where each worker keeps its own (A1) this is no news. Here the session is known everywhere and still
depends on one process: a leader that holds the table, a store started by the app's first worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import trials
from limpet.doctor.checks.check import Check
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Confidence, Finding, Mode, NotTested, RuledOut, Severity
from limpet.doctor.fixes import shared_store

if TYPE_CHECKING:
    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer

RULE = "A30"
_KINDS = (TrialKind.RESTART_ONE, TrialKind.SCALE_DOWN)


def answer(evidence: Evidence) -> Answer:
    """Look at the sessions whose first replica was killed or taken away."""
    seen = [trial for kind in _KINDS if (trial := evidence.trial(kind)) is not None]
    untested = [trials.needs(evidence, kind) for kind in _KINDS]
    if all(untested):
        return NotTested(untested[0])
    lost = [trial for trial in seen if trials.lost(trial.after)]
    if not lost:
        return RuledOut("sessions survived the end of the replica that took their login")
    return Finding(
        rule=RULE,
        severity=Severity.WARNING,
        confidence=Confidence.CONFIRMED if len(lost) == len(_KINDS) else Confidence.LIKELY,
        evidence=tuple(trials.shown(trial) for trial in lost),
        users_see="users of a worker that ends are logged out: at a crash, a recycling, fewer replicas",
        fix=shared_store(evidence.products),
    )


CHECK = Check(
    RULE,
    "a worker restarts and loses its sessions",
    Mode.CHECK,
    "https://bmosoluciones.github.io/now-lms/blog/2025/10/10/gunicorn-session/",
    answer,
)
