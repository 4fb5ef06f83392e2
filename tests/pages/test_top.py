"""`limpet top` in a real terminal, and in a pipe."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_targets import SmallTarget, visit
from terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = str(Path(sys.executable).with_name("limpet"))


@pytest.fixture(scope="module")
def site(limpet: Callable[..., Any]) -> Iterator[Any]:
    """A limpet over two targets that serve and one that is not there; five people have visited it."""
    with SmallTarget("A") as first, SmallTarget("B") as second:
        urls = [first.url, second.url, "http://127.0.0.1:1"]
        targets = [argument for url in urls for argument in ("--target", url)]
        running = limpet("up", *targets, "--access-log", "off")
        visit(running.url, people=5, refreshes=2)
        first.status = second.status = 500
        visit(running.url, people=2, path="/broken")
        first.status = second.status = 200
        yield running


@pytest.fixture
def look(site: Any) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def go(columns: int = 120, lines: int = 30) -> Terminal:
        opened.append(Terminal([COMMAND, "top", "--admin", site.admin], columns, lines))
        return opened[-1]

    yield go
    for terminal in opened:
        terminal.__exit__()


def test_a_pipe_gets_the_numbers_of_status_once(site: Any) -> None:
    done = site.command("top", "--once")
    status = json.loads(site.command("status", "--json").stdout)
    (group,) = status["target_groups"]
    lines = [re.split(r"  +", line.strip()) for line in done.stdout.splitlines()]
    (titles,) = [line for line in lines if line[0] == "target"]
    for target in group["targets"]:
        (shown,) = [dict(zip(titles, line, strict=True)) for line in lines if line[0] == target["name"]]
        assert shown["state"] == target["health"]
        assert [shown["in flight"], shown["queued"], shown["sessions"]] == [
            str(target[name]) for name in ("in_flight", "queued", "sessions")
        ]
    assert "2 of 3 serving" in done.stdout
    assert "5 sessions; suspected logouts: none" in done.stdout
    assert re.search(r"500  GET /broken +default/t-", done.stdout)
    assert (done.returncode, "\x1b" in done.stdout) == (0, False)


def test_it_is_drawn_again_and_q_ends_it(site: Any, look: Callable[..., Terminal]) -> None:
    terminal = look()
    before = int(terminal.shows(r"(\d+) sessions; suspected")[1])
    visit(site.url, people=3, refreshes=2)
    terminal.shows(rf"\D{before + 3} sessions; suspected")
    terminal.press("q")
    assert terminal.ends() == 0


def test_a_narrow_window_leaves_columns_out(look: Callable[..., Terminal]) -> None:
    terminal = look(columns=120)
    terminal.shows("portable")
    terminal.resize(64, 30)
    terminal.shows(r"(?s)portable.*target +state +in flight +req/s +5xx/s +sessions\s")
    terminal.press("q")
    assert terminal.ends() == 0


def test_what_does_not_fit_is_scrolled_to(site: Any, look: Callable[..., Terminal]) -> None:
    (group,) = json.loads(site.command("status", "--json").stdout)["target_groups"]
    first, *_, last = [target["name"] for target in group["targets"]]
    terminal = look(lines=6)
    terminal.shows(first)
    assert last not in terminal.text
    terminal.press("G")
    terminal.shows(last)
    terminal.forget()
    terminal.press("kk\x1b[A")
    terminal.shows(first)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.ends() == 0


def test_nobody_there_is_told_on_the_ordinary_screen(run_limpet: Callable[..., Any]) -> None:
    done = run_limpet("top", "--once", "--admin", "127.0.0.1:1")
    assert (done.returncode, "no limpet answers at 127.0.0.1:1" in done.stderr) == (4, True)
    with Terminal([COMMAND, "top", "--admin", "127.0.0.1:1"]) as terminal:
        terminal.shows("no limpet answers at 127.0.0.1:1")
        assert terminal.ends() == 4


def test_a_balancer_that_ends_is_waited_for_and_then_told(
    limpet: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = limpet("up", "--target", "http://127.0.0.1:1", "--access-log", "off")
    with Terminal([COMMAND, "top", "--admin", running.admin]) as terminal:
        terminal.shows("0 of 1 serving")
        assert running.end() == 0
        terminal.shows("limpet does not answer; trying again")
        assert terminal.ends() == 4
        assert "no limpet answers at" in terminal.text
