"""What the command line makes of its arguments; nothing is started here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from limpet.cli import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_lists_every_command_with_a_whole_sentence() -> None:
    text = invoke("--help").output
    listed = dict(re.findall(r"^  ([a-z]+) +(.+)$", text.partition("Commands:")[2], re.MULTILINE))
    assert list(listed) == list(COMMANDS)
    assert all(sentence.endswith(".") and not sentence.endswith("...") for sentence in listed.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up"], "there is nothing to balance over; add --target URL, or name a configuration file"),
        (["up", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["up", "--target", "http://127.0.0.1:1", "--algorithm", "best"], "'best' is not one of"),
        (["up", "--target", "http://127.0.0.1:1", "--stickiness", "glue"], "'glue' is not one of"),
        (["up", "--target", "http://127.0.0.1:1", "--duration", "-1"], "--duration"),
        (["up", "--target", "http://127.0.0.1:1", "--workers", "0"], "--workers"),
        (["up", "--target", "http://127.0.0.1:1", "--listen", "here"], "'here' has no port; write HOST:PORT"),
        (["up", "--target", "http://127.0.0.1:1", "--listen", "https://127.0.0.1:1"], "is a URL"),
        (
            ["up", "--target", "http://127.0.0.1:1", "--stickiness", "app_cookie"],
            "name the application's session cookie",
        ),
        (
            ["up", "--target", "http://127.0.0.1:1", "--stickiness", "header"],
            "name the header of the session",
        ),
        (["up", "--target", "http://127.0.0.1:1", "--cookie-name", "a b"], "cookie_name: 'a b'"),
        (["up", "--target", "http://127.0.0.1:1", "--admin", "0.0.0.0:1"], "is not a loopback address"),
        (["serve"], "Missing argument"),
        (["serve", "m:app", "--replicas", "0"], "--replicas"),
        (["serve", "m:app", "--interface", "cgi"], "--interface"),
        (["serve", "m:app", "--target", "http://127.0.0.1:1"], "No such option"),
        (["serve", "m:app", "--cookie-name", ""], "cookie_name"),
        (["status", "--admin", "nowhere"], "'nowhere' has no port"),
        (["weight", "A", "1001"], "WEIGHT"),
        (["stauts"], "No such command"),
    ],
)
def test_a_mistake_is_told_with_exit_code_2(arguments: list[str], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_every_mistake_in_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "limpet.toml").write_text(
        '[[listeners]]\naddress = "127.0.0.1"\n'
        '[target_groups.web]\ntargets = ["127.0.0.1:1"]\nalgoritm = "x"\n'
        "[target_groups.web.stickiness]\nduration_s = -5\n"
    )
    for arguments in (["up", "--check"], ["up", "--check", "limpet.toml"], ["up"]):
        result = invoke(*arguments)
        assert result.exit_code == 2
        lines = result.stderr.splitlines()
        assert sorted(line.partition(": ")[0] for line in lines) == [
            "listeners.0.address",
            "target_groups.web.algoritm",
            "target_groups.web.stickiness.duration_s",
        ]
        assert all(re.fullmatch(r"[a-z0-9_.]+: .+; .+", line) for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        'access_log = "off"',
        'admin = "off"',
        "target_groups = []",
        "[target_groups]\nweb = 3",
        '[target_groups.web]\ntargets = "127.0.0.1:1"\nstickiness = "off"',
        "listeners = 3",
    ],
)
def test_a_file_with_the_wrong_kind_of_value_is_a_mistake_too(tmp_path: Path, text: str) -> None:
    (tmp_path / "limpet.toml").write_text(text)
    result = invoke("up", "--check")
    assert result.exit_code == 2
    assert re.match(r"[a-z0-9_.]+: .+; .+", result.stderr)


def test_check_says_that_a_configuration_is_right(tmp_path: Path) -> None:
    (tmp_path / "limpet.toml").write_text('[target_groups.web]\ntargets = ["127.0.0.1:1", "127.0.0.1:2"]\n')
    assert invoke("up", "--check").output == "limpet.toml: no mistakes; 2 targets\n"
    result = invoke("up", "--check", "--target", "http://127.0.0.1:1")
    assert result.output == "the command line: no mistakes; 1 target\n"


_RULES = """
[[listeners]]
address = "127.0.0.1:1"
[[listeners.rules]]
path_prefix = "/a"
forward = "web"
[[listeners.rules]]
path = "/a/b"
forward = "%s"
[target_groups.web]
targets = ["127.0.0.1:2"]
"""


def test_check_warns_of_rules_that_are_never_reached_and_exits_0(tmp_path: Path) -> None:
    (tmp_path / "limpet.toml").write_text(_RULES % "web")
    result = invoke("up", "--check")
    assert result.exit_code == 0
    assert result.stdout == "limpet.toml: no mistakes; 1 target\n"
    assert "limpet: warning: listeners.0.rules.1: is never reached" in result.stderr


def test_check_names_mistakes_in_rules(tmp_path: Path) -> None:
    (tmp_path / "limpet.toml").write_text(_RULES % "wep")
    result = invoke("up", "--check")
    assert result.exit_code == 2
    assert result.stderr == "listeners.0.rules.1.forward: 'wep' is no group; choose one of web\n"
