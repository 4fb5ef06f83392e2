"""From evidence to a verdict: every check is asked, and the answers are put in order.

A verdict is one of three. `findings`: something at the level that the caller asked for. `ok`: nothing
at that level, and enough was seen to say so; how much loss is still possible is in the bounds.
`inconclusive`: too little was seen. A program must not take the third for the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.doctor import signs
from limpet.doctor.checks import CHECKS
from limpet.doctor.evidence import ArmKind, Outcome
from limpet.doctor.finding import Finding, NotTested, RuledOut, Severity
from limpet.doctor.rules import RULES
from limpet.doctor.statistics import loss_bound, loss_over

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from limpet.doctor.checks.check import Check
    from limpet.doctor.evidence import Evidence

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_INCONCLUSIVE = 3

_EXIT_CODES = {"ok": EXIT_OK, "findings": EXIT_FINDINGS, "inconclusive": EXIT_INCONCLUSIVE}
#: More answers than this that are neither in nor out make a run worthless.
_MOST_NEITHER = 0.10
#: Page views of a user for whom the bound is spelt out.
_PAGE_VIEWS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a run without a loss still allows, with 99 %.

    Attributes:
        visits: clear visits with a session.
        lost: how many of them were out.
        loss: the most that may be lost per page load; 1 if nothing was visited.
        loss_over_100: the chance that such a user is logged out within a hundred page loads.
    """

    visits: int
    lost: int
    loss: float
    loss_over_100: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run comes to.

    Attributes:
        name: "ok", "findings" or "inconclusive".
        reason: why it is inconclusive, or what it rests on.
        findings: the gravest and surest first.
        ruled_out, not_tested: reasons by rule.
        bounds: None if no session was watched.
    """

    name: str
    reason: str
    findings: tuple[Finding, ...]
    ruled_out: Mapping[str, str]
    not_tested: Mapping[str, str]
    bounds: Bounds | None
    evidence: Evidence

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return _EXIT_CODES[self.name]


def judge(evidence: Evidence, *, fail_on: Severity = Severity.WARNING, only: Collection[str] = ()) -> Verdict:
    """Ask every check and order the answers.

    Args:
        fail_on: the least severity that makes the verdict `findings`.
        only: rules to ask; all if empty.
    """
    checks = [check for rule, check in CHECKS.items() if not only or rule in only]
    findings, ruled_out, not_tested = _ask(checks, evidence)
    if not only:
        not_tested |= {rule: "not covered yet" for rule in RULES if rule not in CHECKS}
    name, reason = _name(evidence, findings, fail_on)
    return Verdict(
        name=name,
        reason=reason,
        findings=tuple(findings),
        ruled_out=ruled_out,
        not_tested=not_tested,
        bounds=_bounds(evidence),
        evidence=evidence,
    )


def _ask(checks: list[Check], evidence: Evidence) -> tuple[list[Finding], dict[str, str], dict[str, str]]:
    findings = []
    ruled_out, not_tested = {}, {}
    is_blank = not evidence.replicas and not evidence.sources and not evidence.trials
    is_blank = is_blank and next(evidence.all_visits(), None) is None
    for check in checks:
        answer = NotTested("nothing was visited") if is_blank else check.answer(evidence)
        if isinstance(answer, Finding):
            findings.append(answer)
        elif isinstance(answer, RuledOut):
            ruled_out[check.rule] = answer.reason
        else:
            not_tested[check.rule] = answer.reason
    # The sort is stable: among equals the table's order counts.
    findings.sort(key=lambda each: (each.severity.rank, each.confidence.rank))
    return findings, ruled_out, not_tested


def _name(evidence: Evidence, findings: list[Finding], fail_on: Severity) -> tuple[str, str]:
    if any(each.severity.rank <= fail_on.rank for each in findings):
        return "findings", ""
    doubt = _doubt(evidence)
    return ("inconclusive", doubt) if doubt else ("ok", "")


def _doubt(evidence: Evidence) -> str:
    # Why a run without findings proves nothing; "" if it proves something.
    if evidence.stopped:
        return evidence.stopped
    missing = signs.may_judge_login(evidence)
    if missing:
        return missing
    visits = [visit for arm in evidence.arms if arm.kind is not ArmKind.NONE for visit in arm.visits]
    neither = sum(visit.outcome is Outcome.NEITHER for visit in visits)
    if not visits or neither > _MOST_NEITHER * len(visits):
        return f"{neither} of {len(visits)} answers were errors or refusals, neither in nor out"
    unexplained = [arm for arm in evidence.arms if arm.outs and arm.kind is not ArmKind.NONE]
    if unexplained:
        return "sessions were lost, and no known cause explains how: " + signs.shown_arms(unexplained)
    if len(evidence.seen_replicas) == 1 and evidence.command == "doctor":
        return "only one replica was seen; try another network, --resolve, or limpet check"
    return ""


def _bounds(evidence: Evidence) -> Bounds | None:
    arms = evidence.arms_of(ArmKind.JAR, ArmKind.FROZEN, ArmKind.BURST)
    visits, lost = sum(len(arm.clear) for arm in arms), sum(arm.outs for arm in arms)
    if not visits:
        return None
    loss = loss_bound(visits) if not lost else lost / visits
    return Bounds(visits=visits, lost=lost, loss=loss, loss_over_100=loss_over(loss, _PAGE_VIEWS))
