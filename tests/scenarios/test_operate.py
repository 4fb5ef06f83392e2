"""An operator at a running `limpet up`: what is seen of it from outside, and changed."""

from __future__ import annotations

import http.server
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30.0


class Target(http.server.ThreadingHTTPServer):
    """A server that says its name; it can hold back its answers."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.answers = threading.Event()
        self.answers.set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.answers.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Target

    def do_GET(self) -> None:
        if self.path == "/held":
            self.server.answers.wait(TIMEOUT_S)
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def targets() -> Iterator[list[Target]]:
    made = [Target(name) for name in ("one", "two")]
    yield made
    for target in made:
        target.close()


@pytest.fixture
def running(limpet, targets, tmp_path):
    """Two targets named `one` and `two` behind `limpet up limpet.toml`."""
    lines = [f'  {{ address = "{target.url}", name = "{target.name}" }},' for target in targets]
    text = "[target_groups.web]\ntargets = [\n" + "\n".join(lines) + "\n]\nhealth_check.interval_s = 0.2\n"
    (tmp_path / "limpet.toml").write_text(text)
    started = limpet("up", folder=tmp_path)
    started.file = tmp_path / "limpet.toml"
    assert started.url
    yield started
    assert started.end() == 0


def facts(running) -> dict[str, dict]:
    status = httpx.get(f"http://{running.admin}/status").json()
    return {target["name"]: target for target in status["target_groups"][0]["targets"]}


def until(condition, what: str) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)


def new_clients(running, count: int = 8) -> set[str]:
    return {httpx.get(running.url).text for _ in range(count)}


def test_up_balances_and_status_shows_it(running) -> None:
    assert new_clients(running) == {"one", "two"}
    with httpx.Client(base_url=running.url) as client:
        home = client.get("/").text
        assert {client.get("/").text for _ in range(4)} == {home}
    found = facts(running)
    assert {name: target["health"] for name, target in found.items()} == {"one": "healthy", "two": "healthy"}
    assert found[home]["sessions"] == 1
    told = json.loads(running.command("status", "--json").stdout)["target_groups"][0]["targets"]
    for target in (*told, *found.values()):
        target.pop("last_pinned_idle_s")  # time goes on
    assert told == list(found.values())
    table = running.command("status").stdout
    assert "\x1b" not in table
    rows = [line.split() for line in table.splitlines()]
    assert any(row[0] == home and row[2] == "healthy" and row[6] == "1" for row in rows)


def test_explain_tells_why(running) -> None:
    with httpx.Client(base_url=running.url) as client:
        home = client.get("/").text
        request_id = client.get("/").headers["X-Request-Id"]
    text = running.command("explain", request_id).stdout
    assert "GET /" in text
    assert re.search(rf"target +web/{home}: sticky", text)
    assert re.search(rf"stickiness +lb_cookie: bound, pinned to {home}", text)
    record = json.loads(running.command("explain", request_id, "--json").stdout)
    assert (record["target"], record["sticky_status"]) == (home, "bound")
    assert {candidate["target"] for candidate in record["candidates"]} == {"one", "two"}
    unknown = running.command("explain", "no-such-id")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no recent request has the id 'no-such-id'" in unknown.stderr


def test_targets_come_go_and_change(running, targets) -> None:
    third = Target("three")
    try:
        assert running.command("add", third.url, "--name", "three").returncode == 0
        until(lambda: facts(running)["three"]["health"] == "healthy", "the new target is healthy")
        assert new_clients(running, 9) == {"one", "two", "three"}
        assert running.command("weight", "one", "0").returncode == 0
        assert new_clients(running) == {"two", "three"}
        assert running.command("remove", "three").returncode == 0
        assert new_clients(running) == {"two"}
        until(lambda: "three" not in facts(running), "the removed target is forgotten")
        assert running.command("reload").returncode == 0
        assert new_clients(running) == {"one", "two"}
    finally:
        third.close()


def test_drain(running, targets) -> None:
    with httpx.Client(base_url=running.url) as client:
        home = client.get("/").text
        client.get("/")
        dry = running.command("drain", home, "--dry-run")
        assert (dry.returncode, dry.stdout) == (
            1,
            (
                f"{home}: 1 of 1 user would be logged out now; "
                "1 pinned (1 unknown), the last idle in about 5 min; 0 requests in flight\n"
            ),
        )
        assert facts(running)[home]["health"] == "healthy"
        other = {"one", "two"} - {home}
        assert running.command("drain", *other, "--dry-run").returncode == 0

        target = next(target for target in targets if target.name == home)
        target.answers.clear()
        held: list[str] = []
        asking = threading.Thread(target=lambda: held.append(client.get("/held").text))
        asking.start()
        until(lambda: facts(running)[home]["in_flight"] == 1, "a request is in flight")
        waited = running.command("drain", home, "--wait", "--timeout", "0.3")
        assert waited.returncode == 1
        assert waited.stdout.splitlines()[1:] == [
            f"{home}: waiting for 1 pinned session",
            f"{home}: 1 request still in flight when the time was over",
            f"{home}: 1 user of pinned sessions left when the time was over",
        ]
        assert new_clients(running) == other
        target.answers.set()
        asking.join()
        assert held == [home]
        assert running.command("drain", "one" if home == "one" else "two", "--wait").returncode in {0, 2}
        until(lambda: home not in facts(running), "the drained target is forgotten")
        assert client.get("/").text in other


def test_a_reload_with_a_mistake_changes_nothing(running) -> None:
    right = running.file.read_text()
    running.file.write_text(right.replace("interval_s = 0.2", 'interval_s = "often"'))
    done = running.command("reload")
    assert done.returncode == 2
    assert "target_groups.web.health_check.interval_s: 'often' is not allowed; " in done.stderr
    running.process.send_signal(signal.SIGHUP)
    running.line("not reloaded, the old configuration goes on")
    running.line("target_groups.web.health_check.interval_s: 'often' is not allowed")
    assert new_clients(running) == {"one", "two"}
    running.file.write_text(right)
    running.process.send_signal(signal.SIGHUP)
    running.line("^limpet: reloaded$")


def test_reload_waits_until_every_target_is_healthy(running, targets) -> None:
    waited = running.command("reload", "--wait", "--timeout", "20")
    assert (waited.returncode, waited.stdout.splitlines()[1:]) == (0, ["every target is healthy"])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"127.0.0.1:{probe.getsockname()[1]}"
    right = running.file.read_text()
    running.file.write_text(
        right.replace("targets = [", f'targets = [{{ name = "late", address = "{nobody}" }},')
    )
    waited = running.command("reload", "--wait", "--timeout", "0.5")
    assert waited.returncode == 1
    assert re.fullmatch("after 0.5 s: web/late is (initial|unhealthy)", waited.stdout.splitlines()[1])


def test_a_target_that_is_not_there_is_a_usage_error(running) -> None:
    for command in (["drain", "nobody"], ["remove", "nobody"], ["weight", "nobody", "1"]):
        done = running.command(*command)
        assert done.returncode == 2
        assert done.stderr == "limpet: there is no target 'nobody'; there is one, two\n"
    assert running.command("add", "nonsense:port").returncode == 2
    assert running.command("add", "127.0.0.1:1", "--group", "nobody").returncode == 2


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["explain", "x"],
        ["drain", "A"],
        ["add", "127.0.0.1:1"],
        ["remove", "A"],
        ["weight", "A", "1"],
        ["reload"],
    ],
    ids=lambda command: command[0],
)
def test_without_a_limpet_the_exit_code_is_4(command: list[str], run_limpet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as refused:
        address = f"127.0.0.1:{refused.getsockname()[1]}"
    done = run_limpet(*command, "--admin", address)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith(f"limpet: no limpet answers at {address} (Connection refused); ")


def test_something_else_at_the_admin_address_is_not_taken_for_limpet(targets, run_limpet) -> None:
    done = run_limpet("status", "--admin", f"127.0.0.1:{targets[0].server_port}")
    assert done.returncode == 4
    assert "no limpet answers" in done.stderr


def test_a_terminal_gets_colour_and_a_summary(targets, tmp_path) -> None:
    command = [
        str(Path(sys.executable).with_name("limpet")),
        "up",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]
    command += [argument for target in targets for argument in ("--target", target.url)]
    terminal, others_end = pty.openpty()
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "120"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=others_end, stdout=others_end, stderr=others_end, env=environ)
    os.close(others_end)
    shown = ""
    while "Ctrl-C" not in shown:
        shown += os.read(terminal, 65536).decode()
    process.terminate()
    assert process.wait(TIMEOUT_S) == 0
    os.close(terminal)
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert re.search(r"listening on +http://127\.0\.0\.1:[0-9]+", plain)
    assert all(target.url.removeprefix("http://") in plain for target in targets)
    assert re.search(r"sticky +lb_cookie: limpet's cookie 'limpet', until idle for 86400 s", plain)
    assert re.search(r"look inside +.*limpet status --admin 127\.0\.0\.1:[0-9]+", plain)
