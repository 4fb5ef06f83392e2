"""The table of checks, their files and their pages agree."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from limpet.cli import main
from limpet.doctor import checks
from limpet.doctor.checks import CHECKS
from limpet.doctor.rules import RULES

ROOT = Path(__file__).parents[3]
FOLDER = Path(checks.__file__).parent


def test_every_file_of_a_check_is_in_the_table() -> None:
    files = {path.stem.split("_")[0].upper() for path in FOLDER.glob("[abls][0-9]*_*.py")}
    assert files == set(CHECKS)


@pytest.mark.parametrize("rule", sorted(CHECKS))
def test_every_check_has_a_page_with_its_title(rule: str) -> None:
    page = (ROOT / "docs" / "doctor" / f"{rule}.md").read_text()
    assert page.startswith(f"# {rule}: {CHECKS[rule].title}\n")
    assert all(
        part in page for part in ("**Cause.**", "**How it looks.**", "**How to confirm.**", "**Fix.**")
    )


def test_the_list_of_causes_is_true() -> None:
    text = (ROOT / "docs" / "doctor" / "README.md").read_text()
    covered = dict(re.findall(r"^\| \[([LASB]\d+)\]\(\1\.md\) \| (.*) \|$", text, re.MULTILINE))
    assert covered == {rule: f"{check.title} | {check.mode.value}" for rule, check in CHECKS.items()}
    missing = dict(re.findall(r"^\| ([LASB]\d+) \| (.*) \|$", text, re.MULTILINE))
    assert missing == {rule: title for rule, title in RULES.items() if rule not in CHECKS}


def test_every_option_is_told() -> None:
    text = (ROOT / "docs" / "doctor" / "README.md").read_text()
    context = click.Context(main)
    found = main.get_command(context, "doctor")
    assert found is not None
    options = {each.opts[0] for each in found.params if isinstance(each, click.Option)}
    assert not {option for option in options if option not in text}
