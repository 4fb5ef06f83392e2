"""The demo's words: why somebody is out, what is happening, and a mode's row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from limpet.demo.causes import Cause, find_cause, tell
from limpet.demo.headless import row
from limpet.demo.modes import MODES, settings
from limpet.demo.stage import Stage
from limpet.demo.story import STEPS, Scene
from limpet.demo.story import tell as tell_line
from limpet.demo.tally import Figures
from limpet.demo.visitor import Place

DOCS = Path(__file__).parents[3] / "docs"

A, B, NEW_A = Place("A", "1"), Place("B", "2"), Place("A", "3")
ALL_SERVE = dict.fromkeys("ABCDE", "serving")


def scene(mode: str, **changes: Any) -> Scene:
    usual: dict[str, Any] = {
        "mode": MODES[mode],
        "recent_logouts": 0,
        "last_event": "",
        "since_event_s": 1.0,
        "is_paused": False,
        "is_pouring": False,
        "is_store_silent": False,
        "states": ALL_SERVE,
        "loads": dict.fromkeys("ABCDE", 10.0),
        "capacity": 33.0,
    }
    return Scene(**{**usual, **changes})


@pytest.mark.parametrize(
    ("met", "facts", "cause", "words"),
    [
        (B, {}, Cause.STRANGER, "B has never heard of Ann, who is logged in on A"),
        (B, {"lives": False}, Cause.DIED, "A was killed, and Ann's login was in its memory; B took over"),
        (NEW_A, {"lives": False}, Cause.DIED, "A was killed and came back with an empty memory"),
        (
            B,
            {"is_drained": True},
            Cause.DRAINED,
            "A was drained, and Ann's login was in its memory; B took over",
        ),
        (B, {"is_shared": True}, Cause.LOST, "Ann's session is not found, though nothing happened to it"),
        (
            B,
            {"is_shared": True, "lives": False},
            Cause.LOST,
            "Ann's session is not found, though nothing happened to it",
        ),
        (A, {}, Cause.LOST, "Ann's session is not found, though nothing happened to it"),
    ],
)
def test_a_logout_has_one_cause(met: Place, facts: dict[str, bool], cause: Cause, words: str) -> None:
    asked = {"is_shared": False, "lives": True, "is_drained": False, **facts}
    assert find_cause(A, met, **asked) is cause
    assert tell(cause, "Ann", A, met) == words


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            scene("off", recent_logouts=31),
            "31 times somebody was thrown out. Each page goes to another server",
        ),
        (scene("off", recent_logouts=1), "1 person was thrown out"),
        (scene("lb_cookie"), "Everybody stays on one server"),
        (scene("stateless"), "any server may answer"),
        (scene("together"), "could move at any time"),
        (
            scene("lb_cookie", loads={"A": 33.0, "B": 32.0, "C": 8.0}),
            "A and B cannot keep up while C could do more",
        ),
        (scene("lb_cookie", is_pouring=True), "A crowd pours in"),
        (scene("stateless", is_store_silent=True), "nobody is logged out"),
        (scene("off", is_paused=True), "pauses"),
        (
            scene("lb_cookie", last_event="kill", states=ALL_SERVE | {"A": "dead"}),
            "A is down. Whoever was logged in",
        ),
        (scene("together", last_event="kill"), "A is back. Its people go on elsewhere, still logged in"),
        (scene("lb_cookie", last_event="drain"), "its people are logged out"),
        (scene("stateless", last_event="drain"), "still logged in"),
        (scene("app_cookie", last_event="add"), "it gets new people only"),
        (scene("stateless", last_event="add"), "has work at once"),
        (scene("lb_cookie", last_event="kill", since_event_s=60.0), "Everybody stays on one server"),
    ],
)
def test_the_line_says_what_happens(seen: Scene, words: str) -> None:
    assert words in tell_line(seen)


def test_the_guide_tells_problem_fix_catch_and_cure_in_this_order() -> None:
    assert list(dict.fromkeys(step.part for step in STEPS)) == ["Problem", "Fix", "Catch", "Cure"]
    assert all(step.mode in MODES for step in STEPS)
    assert all(callable(getattr(Stage, event)) for step in STEPS for event in step.events)


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_a_mode_is_a_configuration_without_mistakes(mode) -> None:
    made = settings(mode, "127.0.0.1:0", [{"name": "A", "address": "127.0.0.1:9001"}])
    group = made.target_groups["shop"]
    assert group.stickiness.type == mode.stickiness["type"]
    assert mode.is_sticky == (group.stickiness.type != "off")


def test_a_row_tells_logouts_apart() -> None:
    figures = Figures(
        pages=100, logins=9, logouts={"stranger": 7, "died": 5}, failures=1, busiest_to_mean=1.5, p99_ms=80.0
    )
    found = row(MODES["lb_cookie"], figures, quiet=3, people=150, commands=400)
    assert (found.quiet_logouts, found.death_logouts, found.other_logouts) == (3, 5, 4)
    assert found.commands is None  # nobody asks the store
    assert row(MODES["stateless"], figures, 0, 150, 400).commands == 4


def test_the_documentation_tells_every_mode_and_its_pictures_are_there() -> None:
    text = (DOCS / "story.md").read_text()
    assert all(re.search(rf"^ {mode.title} +\d", text, re.MULTILINE) for mode in MODES.values())
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert pictures
    assert all((DOCS / picture).exists() for picture in pictures)
