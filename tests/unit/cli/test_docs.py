"""What docs/quick-start.md says is what limpet does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from limpet.cli import COMMANDS, main
from limpet.core.stickiness import KINDS

TEXT = (Path(__file__).parents[3] / "docs" / "quick-start.md").read_text()


def test_the_configuration_has_no_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (toml,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "limpet.toml").write_text(toml)
    assert CliRunner().invoke(main, ["up", "--check", "limpet.toml"]).output in TEXT


def test_every_command_and_kind_of_stickiness_is_told() -> None:
    assert all(re.search(rf"limpet\s{command}\b", TEXT) for command in COMMANDS)
    assert set(re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE)) == set(KINDS)


@pytest.mark.parametrize("line", re.findall(r"^\$ limpet (serve|up) (.*)$", TEXT, re.MULTILINE))
def test_every_option_exists(line: tuple[str, str]) -> None:
    command, arguments = line
    help_text = CliRunner().invoke(main, [command, "--help"]).output
    assert all(option in help_text for option in re.findall(r"--[a-z-]+", arguments))
