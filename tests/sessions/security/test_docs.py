"""What docs/sessions/security.md lists: every requirement, every flaw, and tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from limpet.sessions import EndReason

HERE = Path(__file__).parent
PAGE = (HERE.parents[2] / "docs/sessions/security.md").read_text()
NAMED = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE))
#: Requirements of chapter 7 of ASVS 5.0.0.
CHAPTER_7 = {"1": 3, "2": 4, "3": 2, "4": 5, "5": 3, "6": 2}
NEIGHBOURS = {
    "3.3.1",
    "3.3.2",
    "3.3.3",
    "3.3.4",
    "3.3.5",
    "11.2.2",
    "11.4.1",
    "11.5.1",
    "14.2.2",
    "14.3.2",
    "15.4.2",
}


def written_in(name: str) -> set[tuple[str, str]]:
    tree = ast.parse((HERE / name).read_text())
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    return {(name, each) for each in functions if each.startswith("test_")}


def test_every_named_test_exists() -> None:
    written = {each for file in HERE.glob("test_*.py") for each in written_in(file.name)}
    assert not NAMED - written


def test_every_test_of_a_requirement_or_flaw_is_named() -> None:
    assert written_in("test_asvs.py") | written_in("test_cves.py") <= NAMED


def test_every_requirement_is_listed_with_a_test_or_as_the_apps() -> None:
    chapter = {f"7.{section}.{n + 1}" for section, count in CHAPTER_7.items() for n in range(count)}
    rows = {row.split("|")[1].strip(): row for row in PAGE.splitlines() if re.match(r"\| \d+\.", row)}
    assert chapter | NEIGHBOURS <= set(rows)
    assert len(chapter) == 19
    for number in chapter:
        tests = f"test_asvs_{number.replace('.', '_')}_"
        assert tests in rows[number] or "| the app" in rows[number], number


def test_every_reason_is_told() -> None:
    for reason in EndReason:
        assert f"`{reason.value}`" in PAGE
