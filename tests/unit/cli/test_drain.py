"""What `limpet drain` says and how it ends, by what the admin API tells."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from limpet.cli import admin_client, drain

TARGET: dict[str, Any] = {
    "name": "B",
    "address": "127.0.0.1:1",
    "health": "healthy",
    "sessions": 412,
    "pinned": 0,
    "pinned_by": {},
    "last_pinned_idle_s": 0.0,
    "in_flight": 0,
}
WEBSOCKETS = {"pinned": 9, "pinned_by": {"websocket": 9}}
MEMORY = {"pinned": 2, "pinned_by": {"memory": 2}, "last_pinned_idle_s": 60.0}


class Balancer:
    """Tells one state of the target after the other; the last again and again; None: it is gone."""

    def __init__(self, *states: dict[str, Any] | None) -> None:
        self.states = list(states)
        self.calls: list[str] = []

    def answer(self, method: str, path: str, *_: object) -> dict[str, Any]:
        if method != "GET":
            self.calls.append(path.rpartition("/")[2])
            return {}
        now = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        targets = [] if now is None else [TARGET | now]
        return {"target_groups": [{"name": "web", "active_window_s": 300, "targets": targets}]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limpet.cli.drain._POLL_S", 0)

    def run(balancer: Balancer, *arguments: str):
        monkeypatch.setattr(admin_client.AdminClient, "_call", lambda _, *call: balancer.answer(*call))
        return CliRunner().invoke(drain.drain, ["B", *arguments])

    return run


@pytest.mark.parametrize(
    ("facts", "code", "text"),
    [
        ({}, 0, "B: 0 of 412 users would be logged out now; 0 requests in flight\n"),
        (
            WEBSOCKETS | {"in_flight": 3},
            0,
            "B: 0 of 412 users would be logged out now; 9 pinned (9 WebSocket); 3 requests in flight\n",
        ),
        (
            MEMORY,
            1,
            (
                "B: 2 of 412 users would be logged out now; 2 pinned (2 in memory), "
                "the last idle in about 4 min; 0 requests in flight\n"
            ),
        ),
    ],
)
def test_a_dry_run_changes_nothing_and_says_who_would_be_out(run, facts, code, text):
    balancer = Balancer(facts)
    result = run(balancer, "--dry-run")
    assert (result.exit_code, result.stdout, balancer.calls) == (code, text, [])


def test_waiting_lets_the_portable_go_and_then_drains(run):
    balancer = Balancer({}, WEBSOCKETS, WEBSOCKETS, {}, {"health": "draining", "in_flight": 1}, None)
    result = run(balancer, "--wait")
    assert (result.exit_code, balancer.calls) == (0, ["leave", "drain"])
    assert result.stdout.splitlines() == [
        "B: gets no new session; 412 users in now",
        "B: waiting for 9 pinned sessions",
        "B: drained",
    ]


def test_the_deadline_comes_with_users_left(run):
    balancer = Balancer(MEMORY, MEMORY, {"health": "draining"}, None)
    result = run(balancer, "--wait", "--timeout", "0")
    assert (result.exit_code, balancer.calls) == (1, ["leave", "drain"])
    assert "B: 2 users of pinned sessions left when the time was over" in result.stdout


def test_a_websocket_that_is_cut_logs_nobody_out(run):
    result = run(Balancer(WEBSOCKETS, WEBSOCKETS, {"health": "draining"}, None), "--wait", "--timeout", "0")
    assert result.exit_code == 0


def test_a_target_that_dies_meanwhile_is_not_waited_for(run):
    result = run(Balancer(MEMORY, MEMORY | {"health": "unhealthy"}, {"health": "draining"}, None), "--wait")
    assert result.exit_code == 1
