"""`limpet doctor` as it is typed: what it asks for, prints, writes and ends with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from ailing_site import Members, SmallSite
from click.testing import CliRunner, Result
from test_runs import Keys

from limpet.cli import main

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = {"PROBE": "correct-horse"}
FORM = ["--form", "/login", "--username", "ann", "--password-env", "PROBE"]


def doctor(*arguments: str, **more: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments], env=PASSWORD, **more)  # type: ignore[arg-type]


def credentials(site: SmallSite) -> list[str]:
    return [
        site.url,
        "--form",
        "/login",
        "--username",
        "ann",
        "--password-env",
        "PROBE",
        "--quick",
        "--quiet",
    ]


def test_every_form_of_report_at_once(site: SmallSite, tmp_path: Path) -> None:
    site.answer = Keys()
    files = ["--sarif", str(tmp_path / "d.sarif"), "--junit", str(tmp_path / "d.xml")]
    result = doctor(*credentials(site), "--json", *files)
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert (report["verdict"], report["findings"][0]["rule"]) == ("findings", "A3")
    log = json.loads((tmp_path / "d.sarif").read_text())
    assert log["runs"][0]["results"][0]["ruleId"] == "A3"
    assert ET.parse(tmp_path / "d.xml").find("testsuite/testcase/failure") is not None
    assert "correct-horse" not in result.output


def test_one_rule_and_another_level(site: SmallSite) -> None:
    site.answer = Keys()
    result = doctor(*credentials(site), "--json", "--only", "a1")
    report = json.loads(result.stdout)
    assert [each["rule"] for each in report["ruled_out"]] == ["A1"]
    assert (report["verdict"], result.exit_code) == ("inconclusive", 3)


def test_without_a_login_it_is_inconclusive(site: SmallSite) -> None:
    site.answer = Members()
    result = doctor(site.url)
    assert result.exit_code == 3
    assert "INCONCLUSIVE  no login was given" in result.stdout
    assert "requests used" in result.stderr


def test_nobody_answers(site: SmallSite) -> None:
    site.close()
    result = doctor(site.url)
    assert result.exit_code == 4
    assert "does not answer" in result.output


def test_a_dry_run_asks_nothing(site: SmallSite) -> None:
    result = doctor(*credentials(site), "--dry-run")
    assert result.exit_code == 0
    assert "log in 2 to 4 times (form)" in result.output
    assert not site.asked


def test_other_machines_need_consent() -> None:
    result = doctor(
        "https://app.example/", "--form", "/login", "--username", "ann", "--password-env", "PROBE"
    )
    assert result.exit_code == 2
    assert "at most 300 requests, at most 5 a second, 4 at once" in result.output
    assert "--yes" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://app.example/"], "is no URL of a page"),
        (["https://ann:pw@app.example/"], "has a password in it"),
        (["http://localhost/logout"], "looks as if it logged out"),
        (["http://localhost/", "--only", "Z9"], "there is no such rule"),
        (["http://localhost/", "--form", "/l"], "--username: is missing"),
        (["http://localhost/", "--form", "/l", "--cookie-env", "PROBE"], "two ways to log in"),
        (["http://localhost/", "--cookie-env", "NOT_SET"], "--cookie-env NOT_SET: the variable is not set"),
        (["http://localhost/", "--idle", "soon"], "is no duration"),
        (["http://localhost/", "--in-text", "a", "--in-status", "200"], "two tests of being in"),
        (
            [
                "http://localhost/",
                "--form",
                "/l",
                "--username",
                "a",
                "--password-env",
                "PROBE",
                "--field",
                "x",
            ],
            "--field x: has no value",
        ),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str) -> None:
    result = doctor(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_page_without_a_form_is_a_mistake(site: SmallSite) -> None:
    result = doctor(site.url, "--form", "/", "--username", "ann", "--password-env", "PROBE", "--quiet")
    assert result.exit_code == 2
    assert "has no login form" in result.output


@pytest.mark.parametrize(
    ("option", "value", "verdict"),
    [("--in-text", "Hello", "ok"), ("--in-status", "200", "inconclusive"), ("--as-user", "ann", "ok")],
)
def test_a_mark_of_ones_own(site: SmallSite, option: str, value: str, verdict: str) -> None:
    site.answer = Members()
    result = doctor(*credentials(site), option, value, "--json")
    assert json.loads(result.stdout)["verdict"] == verdict


def test_brought_cookies_are_not_frozen_unless_allowed(site: SmallSite) -> None:
    members = Members()
    members.sessions["brought-along-by-somebody"] = "ann"
    site.answer = members
    environ = {"SESSION": "sid=brought-along-by-somebody"}
    arguments = [
        "doctor",
        site.url,
        "--cookie-env",
        "SESSION",
        "--username",
        "ann",
        "--quick",
        "--quiet",
        "--json",
    ]
    for more, kinds in ([], {"J", "N", "X"}), (["--allow-frozen"], {"J", "F", "N", "X", "U"}):
        result = CliRunner().invoke(main, [*arguments, *more], env=environ)
        assert {each["kind"] for each in json.loads(result.stdout)["arms"]} == kinds
        assert "brought-along" not in result.output
