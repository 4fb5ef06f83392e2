"""Causes that `limpet check` brings about: each on evidence of an app that has it, and of one without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from seen_kit import FLASK, LONG_IN, OPAQUE, arm, seen

from limpet.doctor.checks import CHECKS
from limpet.doctor.checks.a4_secret_per_deploy import CHANGED
from limpet.doctor.checks.a31_name_of_release import RENAMED
from limpet.doctor.evidence import Evidence, ReplicaFact, SourceFact, Trial, TrialKind
from limpet.doctor.finding import Finding, NotTested, RuledOut, Severity
from limpet.doctor.signs import DIFFERENT_TEXTS, GREW
from limpet.doctor.verdict import judge

FLAP = ".XX.XX.XX.XX.XX"
SECRETS = tuple(ReplicaFact(name=name, secrets=(("app.secret_key", name),)) for name in "ABC")


def rehearsed(*trials: Trial, **more: Any) -> Evidence:
    """Return the evidence of a rehearsal in which the refresh went well."""
    return seen(
        arm("J", LONG_IN, login=1), arm("F", LONG_IN, login=2), command="check", trials=trials, **more
    )


def trial(kind: TrialKind, after: str, *, before: str = "..", during: str = "", fresh: str = "") -> Trial:
    """Return a trial with these sequences."""
    rows = {"before": before, "during": during, "after": after, "fresh": fresh}
    return Trial(kind=kind, **{name: arm("J", row) for name, row in rows.items() if row})


ALL, ONE, STORE = TrialKind.RESTART_ALL, TrialKind.RESTART_ONE, TrialKind.STORE_STOPPED
SLOW, DOWN = TrialKind.SLOW_REQUEST, TrialKind.SCALE_DOWN
SICK = {
    "A4": rehearsed(trial(ALL, "XXXXXX", fresh=".."), facts={CHANGED: "app.secret_key"}),
    "A21": rehearsed(trial(SLOW, "XXX", before="")),
    "A30": rehearsed(trial(ONE, "XXX", during="XXX"), trial(DOWN, "......")),
    "A31": rehearsed(trial(ALL, "XXXXXX", fresh=".."), facts={RENAMED: "sid-1"}),
    "S12": rehearsed(trial(ALL, "XXXXXX", fresh="..")),
    "S13": rehearsed(trial(STORE, "XXX", during="XXXX", fresh="...")),
}
WELL = rehearsed(
    trial(ALL, "......", fresh=".."),
    trial(ONE, "...", during="?.."),
    trial(DOWN, "......"),
    trial(SLOW, "...", before=""),
    trial(STORE, "...", during="????", fresh="..."),
)


@pytest.mark.parametrize("rule", sorted(SICK))
def test_the_right_cause_comes_first(rule: str) -> None:
    verdict = judge(SICK[rule])
    assert [each.rule for each in verdict.findings if each.severity is not Severity.NOTE] == [rule]
    assert verdict.exit_code == 1
    finding = verdict.findings[0]
    assert all((*finding.evidence, finding.users_see, finding.fix))


@pytest.mark.parametrize("rule", sorted(SICK))
def test_an_app_that_holds_is_well(rule: str) -> None:
    assert isinstance(CHECKS[rule].answer(WELL), RuledOut)
    assert judge(WELL).name == "ok"


@pytest.mark.parametrize("rule", sorted(SICK))
def test_what_was_not_tried_is_not_ruled_out(rule: str) -> None:
    assert isinstance(CHECKS[rule].answer(rehearsed()), NotTested)
    lost_before = {kind: trial(kind, "XXX", before="X.") for kind in (ALL, ONE, DOWN, STORE, SLOW)}
    answer = CHECKS[rule].answer(rehearsed(*lost_before.values()))
    assert rule == "A31" or isinstance(answer, NotTested)


@pytest.mark.parametrize("rule", ["A4", "A21", "A30", "S12", "S13"])
def test_what_each_process_keeps_hides_the_rest(rule: str) -> None:
    flapping = replace(SICK[rule], arms=(arm("F", FLAP, login=1), arm("F", FLAP, login=2)))
    answer = CHECKS[rule].answer(flapping)
    assert isinstance(answer, NotTested)
    assert "A1" in answer.reason


def test_an_outage_that_shows_the_login_page_is_worth_a_note() -> None:
    answer = CHECKS["S13"].answer(rehearsed(trial(STORE, "...", during="XX??", fresh="...")))
    assert isinstance(answer, Finding)
    assert answer.severity is Severity.NOTE


def flap(**more: Any) -> Evidence:
    """Return the evidence of an app that flaps, whose replicas are known."""
    arms = (arm("F", FLAP, login=1, replicas="ABC" * 5), arm("F", FLAP, login=2, replicas="ABC" * 5))
    return seen(*arms, **{"command": "check", "cookie": OPAQUE, **more})


def test_different_secrets_explain_a_loss_unless_memory_does() -> None:
    place = SourceFact(kind="secret_made_at_import", path="app.py", line=7)
    finding = judge(flap(replicas=SECRETS, sources=(place,))).findings[0]
    assert (finding.rule, finding.location and finding.location.line) == ("A3", 7)
    unnamed = judge(flap(facts={DIFFERENT_TEXTS: "app.KEY"})).findings[0]
    assert (unnamed.rule, unnamed.confidence.value) == ("A3", "likely")
    grown = judge(flap(replicas=SECRETS, facts={GREW: "app:logins"})).findings
    assert grown[0].rule == "A1"
    assert {each.rule: each.severity for each in grown if each.rule == "A3"} == {"A3": Severity.NOTE}
    signed = judge(flap(replicas=SECRETS, cookie=FLASK, facts={GREW: "app:hits"})).findings[0]
    assert signed.rule == "A3"


def test_different_secrets_without_a_loss_are_worth_a_note() -> None:
    answer = CHECKS["A3"].answer(rehearsed(replicas=SECRETS))
    assert isinstance(answer, Finding)
    assert answer.severity is Severity.NOTE
    untested = CHECKS["A3"].answer(Evidence(command="check", replicas=SECRETS))
    assert isinstance(untested, Finding)
    assert untested.severity is Severity.WARNING
