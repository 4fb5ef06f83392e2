"""Starting and ending `limpet serve`: what it says, its exit code, and no process left behind."""

from __future__ import annotations

import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

APPS = ["examples.flask_memory:app", "examples.fastapi_memory:app"]
TIMEOUT_S = 30.0


def is_running(pid: int) -> bool:
    try:  # a process that has ended but was not waited for is a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def replica_pids(url: str, count: int) -> set[int]:
    pids: set[int] = set()
    while len(pids) < count:
        found = re.search("process ([0-9]+)", httpx.get(url).text)
        assert found is not None
        pids.add(int(found[1]))
    return pids


def await_end(pids: set[int]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline_s, f"still running: {left}"
        time.sleep(0.02)


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_leaves_no_process(app: str, number: signal.Signals, limpet) -> None:
    running = limpet("serve", app, "--replicas", "2", "--access-log", "off")
    pids = replica_pids(running.url, 2)
    assert all(is_running(pid) for pid in pids)
    assert running.end(number) == 0
    assert not [pid for pid in pids if is_running(pid)]
    assert [line for line in running.lines if not line.startswith("limpet: ")] == []


@pytest.mark.parametrize("app", APPS)
def test_what_is_in_flight_is_answered_before_the_end(app: str, limpet) -> None:
    running = limpet("serve", app, "--replicas", "2")
    url = f"{running.url}/slow?seconds=1"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.get, url)
        wait_for_in_flight(running)
        assert running.end() == 0
        assert answer.result().text == "done\n"


def wait_for_in_flight(running) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    status = f"http://{running.admin}/status"
    while not any(t["in_flight"] for t in httpx.get(status).json()["target_groups"][0]["targets"]):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize("app", APPS)
def test_no_orphan_is_left_when_it_is_killed(app: str, limpet) -> None:
    running = limpet("serve", app, "--replicas", "2")
    pids = replica_pids(running.url, 2)
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    await_end(pids)


def test_a_signal_ends_it_while_replicas_are_still_starting(limpet, tmp_path) -> None:
    (tmp_path / "late.py").write_text("import os, time\nprint('process', os.getpid())\ntime.sleep(60)\n")
    running = limpet("serve", "late:app", "--replicas", "1", folder=tmp_path)
    pid = int(running.line(r"^A \| process ([0-9]+)")[1])
    assert running.end() == 0
    assert not is_running(pid)


def test_replica_output_and_environment(limpet, tmp_path) -> None:
    (tmp_path / "talk.py").write_text(
        "import os, sys\n"
        "letter, store = os.environ['LIMPET_REPLICA'], os.environ['LIMPET_SESSION_STORE']\n"
        "print('I am', letter, 'with', store)\n"
        "print('secret of', len(os.environ['LIMPET_SECRET']), file=sys.stderr)\n"
        "async def app(scope, receive, send): ...\n"
    )
    running = limpet("serve", "talk:app", "--replicas", "3", "--session-store", "memory://", folder=tmp_path)
    for letter in "ABC":
        running.line(rf"^{letter} \| I am {letter} with memory://$")
        running.line(rf"^{letter} \| secret of [34]\d$")
    assert running.end() == 0


@pytest.mark.parametrize(
    ("app", "code", "message"),
    [
        ("broken:app", 2, "ZeroDivisionError"),
        ("nowhere:app", 2, "limpet: there is no module 'nowhere'"),
        ("broken", 2, "limpet: 'broken' names no app; write MODULE:APP"),
        ("unclear:app", 2, "say --interface asgi or --interface wsgi"),
        ("unclear:nothing", 2, "limpet: module 'unclear' has no 'nothing'"),
        ("quits:app", 1, "limpet: replica A ended with exit code 5 before it was ready"),
        ("no_startup:app", 1, "limpet: replica A ended with exit code 3 before it was ready"),
    ],
)
def test_an_app_that_cannot_run_ends_it(app: str, code: int, message: str, limpet, tmp_path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "unclear.py").write_text("def app(*arguments): ...\n")
    (tmp_path / "quits.py").write_text("raise SystemExit(5)\n")
    (tmp_path / "no_startup.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    running = limpet("serve", app, "--replicas", "1", folder=tmp_path)
    assert running.wait() == code
    assert message in "\n".join(running.lines)


def test_interface_settles_what_is_unclear(limpet, tmp_path) -> None:
    (tmp_path / "unclear.py").write_text(
        "def app(*arguments):\n    arguments[1]('200 OK', [])\n    return [b'from wsgi']\n"
    )
    running = limpet("serve", "unclear:app", "--interface", "wsgi", "--replicas", "1", folder=tmp_path)
    assert httpx.get(running.url).text == "from wsgi"
    assert running.end() == 0


def test_a_taken_address_is_a_mistake_and_leaves_no_process(limpet, run_limpet) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_limpet("serve", APPS[0], "--replicas", "1", "--listen", address, "--admin", "127.0.0.1:0")
    assert done.returncode == 2
    assert f"listeners: {address} cannot be bound" in done.stderr
