"""What checks ask of trials: of what `limpet check` did on purpose, and what became of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.evidence import Outcome

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm, Evidence, Trial, TrialKind

_EXPLAINED = {
    signs.FlapCause.KEY: "keys differ from process to process (A3), which would hide it",
    signs.FlapCause.STATE: "sessions live in the memory of one process (A1), which would hide it",
}


def needs(evidence: Evidence, kind: TrialKind) -> str:
    """Return why a trial cannot be judged; "" if it can."""
    trial = evidence.trial(kind)
    if trial is None:
        if evidence.command == "check":
            return (
                "no login was made" if evidence.stopped else f"{kind.value}: the app gave no occasion for it"
            )
        return "limpet check MODULE:APP tries it"
    cause = signs.flap_cause(evidence)
    if cause in _EXPLAINED:
        return _EXPLAINED[cause]
    if trial.before is not None and not held(trial.before):
        return "the session was lost before anything was done"
    return ""


def held(arm: Arm | None) -> bool:
    """Whether a session was in at every clear visit, and there was one."""
    return arm is not None and bool(arm.ins) and not arm.outs


def lost(arm: Arm | None) -> bool:
    """Whether a session was out for good: at two visits and at the last one."""
    return arm is not None and arm.outs >= 2 and arm.clear[-1].outcome is Outcome.OUT


def shown(trial: Trial) -> str:
    """Return the visits of a trial, for a person."""
    parts = {"before": trial.before, "during": trial.during, "after": trial.after, "new login": trial.fresh}
    seen = ", ".join(f"{name} {arm.sequence}" for name, arm in parts.items() if arm is not None)
    return f"{trial.kind.value}: {seen} (. in, X out, ? neither)"


def remembers(evidence: Evidence) -> bool:
    """Whether a login sets a cookie that logs in again, by its name."""
    return any("remember" in each.name.lower() for login in evidence.logins for each in login.cookies)
