"""The order of findings, the three verdicts, and what a run without a loss still allows."""

from __future__ import annotations

import pytest
from seen_kit import FLASK, LONG_IN, arm, seen

from limpet.doctor.checks import CHECKS
from limpet.doctor.evidence import Evidence
from limpet.doctor.finding import Severity
from limpet.doctor.rules import RULES
from limpet.doctor.statistics import fisher_exact, loss_bound, loss_over, visits_to_meet
from limpet.doctor.verdict import judge

SICK = seen(
    arm("F", "X.X.XX.X.XX.X.X."), arm("F", "XX.X..XX", login=2), arm("J", "X..X.X.X.XX."), cookie=FLASK
)
WELL = seen(arm("J", LONG_IN * 2), arm("F", LONG_IN * 2))


def test_a_sick_site_has_findings_and_its_cause_comes_first() -> None:
    verdict = judge(SICK)
    assert (verdict.name, verdict.exit_code) == ("findings", 1)
    assert verdict.findings[0].rule == "A3"
    assert "A1" in verdict.ruled_out


def test_a_well_site_is_ok_within_a_bound() -> None:
    verdict = judge(WELL)
    assert (verdict.name, verdict.exit_code) == ("ok", 0)
    assert verdict.bounds is not None
    assert (verdict.bounds.visits, verdict.bounds.lost) == (64, 0)
    assert verdict.bounds.loss == pytest.approx(0.0694, abs=0.001)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (Evidence(), "no login was given"),
        (seen(arm("J", LONG_IN), stopped="the site answered 429 three times"), "429"),
        (seen(arm("J", "...?..??........")), "3 of 16 answers"),
        (seen(arm("J", LONG_IN, replicas="A" * 16)), "only one replica"),
        (seen(arm("J", "....XXXXXXXX....")), "no known cause"),
        (seen(arm("J", LONG_IN), oracle=""), "could not be told apart"),
    ],
)
def test_too_little_is_inconclusive(evidence: Evidence, reason: str) -> None:
    verdict = judge(evidence, only=["A3"])
    assert (verdict.name, verdict.exit_code) == ("inconclusive", 3)
    assert reason in verdict.reason


def test_every_rule_is_answered_once() -> None:
    for evidence in (SICK, WELL, Evidence()):
        verdict = judge(evidence)
        told = [each.rule for each in verdict.findings] + list(verdict.ruled_out) + list(verdict.not_tested)
        assert sorted(told) == sorted(RULES)


def test_only_some_rules_are_asked() -> None:
    verdict = judge(SICK, only=["A1"])
    assert not verdict.findings
    assert list(verdict.ruled_out) == ["A1"]


def test_the_level_that_fails_is_the_callers() -> None:
    assert judge(SICK, fail_on=Severity.ERROR).name == "findings"


def test_checks_are_known_rules() -> None:
    assert len(RULES) == 77
    assert set(CHECKS) <= set(RULES)
    assert all(CHECKS[rule].rule == rule for rule in CHECKS)


def test_statistics_are_those_of_the_tables() -> None:
    assert [visits_to_meet(1 / k) for k in (2, 3, 4, 5, 10)] == [7, 12, 17, 21, 44]
    assert [round(loss_bound(n), 3) for n in (30, 60, 100)] == [0.142, 0.074, 0.045]
    assert round(loss_over(0.01, 100), 2) == 0.63
    assert round(fisher_exact(((9, 0), (0, 3))), 4) == 0.0045
    assert round(fisher_exact(((4, 0), (0, 4))), 3) == 0.014
