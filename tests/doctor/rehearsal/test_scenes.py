"""Each scene on a small app that fails it, and on one that does not; real processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from limpet.doctor import trials
from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Severity, SourceLine
from limpet.doctor.rehearsal.run import BUDGET
from limpet.doctor.rehearsal.scenes import SCENES
from limpet.doctor.rehearsal.setting_up import SetUpError
from limpet.doctor.verdict import judge
from limpet.replicas.app import AppError

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Finding

    Play = Callable[..., Evidence]

HERE = Path(__file__).parent


def grave(evidence: Evidence) -> list[Finding]:
    return [each for each in judge(evidence).findings if each.severity is not Severity.NOTE]


def line(file: str, text: str) -> SourceLine:
    lines = (HERE / file).read_text().splitlines()
    return SourceLine(file, next(number for number, each in enumerate(lines, 1) if each.startswith(text)))


def test_sessions_in_memory_and_the_line_that_keeps_them(play: Play) -> None:
    evidence = play("small_sites:memory()", "sticky", "scale", "restart one")
    (finding, *rest) = grave(evidence)
    assert (finding.rule, finding.location, rest) == ("A1", line("small_sites.py", "SESSIONS"), [])
    sticky, down = evidence.trial(TrialKind.STICKY), evidence.trial(TrialKind.SCALE_DOWN)
    killed = evidence.trial(TrialKind.RESTART_ONE)
    assert sticky is not None
    assert trials.held(sticky.after)
    assert down is not None
    assert trials.held(down.before)
    assert trials.lost(down.after)
    assert killed is not None
    assert trials.held(killed.before)
    assert trials.lost(killed.after)


def test_a_secret_of_each_process_and_the_line_that_makes_it(play: Play) -> None:
    evidence = play("small_sites:own_secret()")
    assert [(each.rule, each.location) for each in grave(evidence)] == [
        ("A3", line("small_sites.py", "OWN_KEY"))
    ]


def test_a_shared_store_survives_everything(play: Play) -> None:
    evidence = play("small_sites:shared()", *SCENES)
    verdict = judge(evidence)
    assert (verdict.name, verdict.findings) == ("ok", ())
    assert {"A1", "A3", "A4", "A9", "A19", "A20", "A26", "A30", "A31", "S12"} <= set(verdict.ruled_out)
    assert evidence.used < BUDGET
    assert {each.kind for each in evidence.trials} >= {TrialKind.SCALE_UP, TrialKind.PARALLEL_REFRESH}


@pytest.mark.parametrize(
    ("app", "rule"),
    [("flushed_at_start", "S12"), ("new_secret_at_start", "A4"), ("renamed_at_start", "A31")],
)
def test_a_restart_of_all_ends_sessions(play: Play, app: str, rule: str) -> None:
    assert [each.rule for each in grave(play(f"small_sites:{app}()", "restart all"))] == [rule]


def test_a_clock_that_is_ahead(play: Play) -> None:
    strict = judge(play("small_sites:strict_clock()", "skewed clock"))
    assert [(each.rule, each.severity) for each in strict.findings] == [("A9", Severity.NOTE)]


def test_an_app_that_believes_it_is_on_http(play: Play) -> None:
    (finding,) = grave(play("small_sites:https_only()", "TLS in front"))
    assert finding.rule == "A19"
    assert "the login sets no cookie" in finding.evidence


@pytest.mark.parametrize(("app", "rule"), [("remembering", "A22"), ("refreshing", "A23"), ("with_grace", "")])
def test_parallel_requests_when_a_session_has_ended(play: Play, app: str, rule: str) -> None:
    evidence = play(f"small_sites:{app}()", "parallel refresh")
    assert [each.rule for each in grave(evidence)] == ([rule] if rule else [])
    assert evidence.trial(TrialKind.PARALLEL_RENEWAL) is not None


def test_a_second_device(play: Play) -> None:
    assert [each.rule for each in grave(play("small_sites:one_device()", "second login"))] == ["A26"]


def test_a_page_that_is_slow_while_its_user_logs_in(play: Play) -> None:
    assert [each.rule for each in grave(play("slow_apps:write_back()", "slow request"))] == ["A21"]
    well = play("slow_apps:signed_cookie()", "slow request")
    assert grave(well) == []
    assert "A21" in judge(well).ruled_out


def test_a_user_is_made_and_cleaned_up(play: Play, tmp_path: Path) -> None:
    evidence = play("small_sites:shared()", setup="small_sites:ann")
    assert evidence.logins
    assert (tmp_path / "cleaned").exists()
    with pytest.raises(SetUpError, match="no 'bob'"):
        play("small_sites:shared()", setup="small_sites:bob")


def test_what_cannot_be_rehearsed_says_why(play: Play) -> None:
    with pytest.raises(AppError, match="no database"):
        play("small_sites:broken()")
    evidence = play("small_sites:shared()", password="wrong")
    assert judge(evidence).name == "inconclusive"
    assert evidence.stopped.startswith("logging in as 'ann' by the form on / (403)")
    assert "--setup" in evidence.stopped
