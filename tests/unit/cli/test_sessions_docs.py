"""docs/sessions/operate.md tells every finding, reason and option that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from limpet.cli import main
from limpet.sessions import EndReason, OnUnknown
from limpet.sessions.record import Outcome

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "sessions" / "operate.md").read_text()


def test_every_finding_has_its_row_with_its_severity() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src/limpet/sessions/stores").glob("*.py"))
    raised = set(re.findall(r'"(S\d{3})",\s+"(error|warning)"', sources))
    assert len(raised) > 10
    assert raised == set(re.findall(r"^\| (S\d{3}) \| (error|warning) \|", TEXT, re.MULTILINE))


def test_every_reason_outcome_and_answer_to_an_outage_is_told() -> None:
    words = {each.value for each in (*EndReason, *Outcome)} | {each.name for each in OnUnknown}
    assert [word for word in sorted(words) if f"`{word}`" not in TEXT] == []


@pytest.mark.parametrize("line", re.findall(r"^\$ limpet (sessions \w+)(.*)$", TEXT, re.MULTILINE))
def test_every_option_exists(line: tuple[str, str]) -> None:
    command, arguments = line
    help_text = CliRunner().invoke(main, [*command.split(), "--help"]).output
    assert help_text.startswith("Usage: ")
    assert all(option in help_text for option in re.findall(r"--[a-z-]+", arguments))
