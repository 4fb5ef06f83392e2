"""A new process takes over: no connection is refused, no session moves, and a failure changes nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import httpx
import pytest

APP = """\
import asyncio, os
async def app(scope, receive, send):
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    body = os.environ["LIMPET_REPLICA"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def targets(limpet, tmp_path_factory) -> list[str]:
    """Run three replicas behind another limpet, and return where they are."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "letters.py").write_text(APP)
    running = limpet("serve", "letters:app", "--replicas", "3", "--access-log", "off", folder=folder)
    status = httpx.get(f"http://{running.admin}/status").json()
    return [target["address"] for target in status["target_groups"][0]["targets"]]


def up(limpet, targets, *more, **environ):
    chosen = [word for target in targets for word in ("--target", f"http://{target}")]
    running = limpet("up", *chosen, "--access-log", "off", *more, **environ)
    assert running.admin
    return running


class Crowd:
    """Clients that ask again and again on new connections, and say what went wrong."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers = 0
        self.wrong: list[str] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        # `verify` has no meaning here; without it each client would read all certificates of the machine.
        with httpx.Client(base_url=self.url, verify=False) as first:
            home = first.get("/").text
            cookies = dict(first.cookies)
        while not self._stopping.is_set():
            try:
                with httpx.Client(base_url=self.url, cookies=cookies, verify=False) as client:
                    answer = client.get("/")
            except httpx.HTTPError as error:
                self.wrong.append(repr(error))
            else:
                self.answers += 1
                if (answer.status_code, answer.text) != (200, home):
                    self.wrong.append(f"{answer.status_code} {answer.text} instead of {home}")
            self._stopping.wait(0.01)  # who asks without a pause keeps the successor from starting


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("way", ["signal", "command"])
def test_nobody_notices_an_upgrade(limpet, targets, workers, way) -> None:
    running = up(limpet, targets, "--workers", workers)
    with httpx.Client(base_url=running.url) as kept:
        assert kept.get("/").status_code == 200
        began_s = time.monotonic()
        with Crowd(running.url) as crowd:
            slow: list[int] = []
            waiting = threading.Thread(target=lambda: slow.append(kept.get("/slow").status_code))
            waiting.start()
            if way == "signal":
                running.process.send_signal(signal.SIGUSR2)
            else:
                done = running.command("reload", "--binary")
                assert done.returncode == 0, done.stderr
            successor = int(running.line(r"process (\d+) serves from now on")[1])
            assert running.process.wait(30) == 0
            waiting.join()
            before = crowd.answers
            while crowd.answers < before + 20 and not crowd.wrong:
                crowd._stopping.wait(0.02)
        assert slow == [200]
        assert crowd.wrong == []
    uptime_s = httpx.get(f"http://{running.admin}/status").json()["uptime_s"]
    assert uptime_s <= time.monotonic() - began_s
    end(running, successor)


def end(running, successor: int) -> None:
    watched = os.pidfd_open(successor)
    try:
        os.kill(successor, signal.SIGTERM)
        running._reader.join(30)  # its output ends with the last process that holds it
        assert not running._reader.is_alive()
    finally:
        os.close(watched)


def test_a_successor_that_does_not_serve_changes_nothing(limpet, targets, tmp_path) -> None:
    config = tmp_path / "limpet.toml"
    config.write_text(f'[target_groups.web]\ntargets = ["{targets[0]}"]\n')
    running = limpet("up", str(config), "--access-log", "off")
    assert httpx.get(running.url).status_code == 200
    config.write_text("[target_groups.web]\ntargets = 5\n")
    refused = running.command("reload", "--binary")
    assert refused.returncode == 2
    assert "nothing was changed" in refused.stderr
    assert httpx.get(running.url).status_code == 200
    running.process.send_signal(signal.SIGUSR2)
    running.line("no upgrade, this process goes on")
    assert httpx.get(running.url).status_code == 200
    assert running.end() == 0


def test_what_runs_an_app_cannot_be_upgraded(limpet, tmp_path) -> None:
    (tmp_path / "letters.py").write_text(APP)
    running = limpet("serve", "letters:app", "--replicas", "1", folder=tmp_path)
    assert running.admin
    refused = running.command("reload", "--binary")
    assert (refused.returncode, "stop it and start it again" in refused.stderr) == (2, True)
    running.process.send_signal(signal.SIGUSR2)
    running.line("no upgrade: this process runs the app as well")
    assert httpx.get(running.url).text == "A"
    assert running.end() == 0


def test_a_unix_socket_is_handed_over_with_its_file(limpet, targets, tmp_path) -> None:
    path = tmp_path / "front.sock"
    config = tmp_path / "limpet.toml"
    config.write_text(
        f'[[listeners]]\naddress = "unix:{path}"\n[[listeners]]\naddress = "127.0.0.1:0"\n'
        f'[target_groups.web]\ntargets = ["{targets[0]}"]\n[access_log]\npath = "off"\n'
    )
    running = limpet("up", str(config), listen=None)
    running.line("listening on http://127")
    assert running.admin
    done = running.command("reload", "--binary")
    assert done.returncode == 0, done.stderr
    successor = int(re.search(r"process (\d+)", done.stdout)[1])
    assert running.process.wait(30) == 0
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://shop.example/").status_code == 200
    end(running, successor)
    assert not path.exists()


STARTER = """\
import os, socket, sys
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
print("port", listening.getsockname()[1], flush=True)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
address = f"127.0.0.1:{listening.getsockname()[1]}"
os.execv(sys.argv[1], [sys.argv[1], "up", "--listen", address, *sys.argv[2:]])
"""


def test_systemd_binds_the_socket_and_is_told(targets, tmp_path) -> None:
    """What systemd does, without it. Source: sd_listen_fds(3) for LISTEN_FDS, sd_notify(3)."""
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.settimeout(30)
    told.bind(str(tmp_path / "notify"))
    command = str(Path(sys.executable).with_name("limpet"))
    words = [sys.executable, "-c", STARTER, command, "--target", f"http://{targets[0]}"]
    words += ["--admin", "127.0.0.1:0", "--access-log", "off"]
    environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "XDG_STATE_HOME": str(tmp_path)}
    with told, subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().split()[1])
            assert told.recv(1024).decode().split("\n") == ["READY=1", f"MAINPID={process.pid}"]
            assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
            process.send_signal(signal.SIGHUP)
            assert told.recv(1024).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert told.recv(1024).startswith(b"READY=1\n")
            process.send_signal(signal.SIGTERM)
            assert told.recv(1024) == b"STOPPING=1"
            assert process.wait(30) == 0
        finally:
            process.kill()
