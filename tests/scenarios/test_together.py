"""The balancer and the sessions together: servers are emptied, stopped and killed, and nobody notices.

Three servers of one app, each a process of its own as an operator would run it, on a real Valkey and with
near-caches; limpet in front as it is by default, sticky.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from browsers import Tally, count_carts, patiently, report, shoppers, shopping
from ports import free_port
from stores import valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60.0
NAMES = "ABC"


class Server:
    """One copy of the shop, always on the same port."""

    def __init__(self, name: str, environ: dict[str, str]) -> None:
        self.name = name
        self.port = free_port()
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))  # the examples
        self._environ = {**os.environ, **environ, "LIMPET_REPLICA": name, "PYTHONPATH": path}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; whoever needs it waits for its health."""
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "patient_shop:app",
            "--app-dir",
            str(ROOT / "tests/scenarios"),
        ]
        command += ["--port", str(self.port), "--log-level", "warning", "--no-access-log"]
        self.process = subprocess.Popen(command, env=self._environ, cwd=ROOT)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has gone."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(TIMEOUT_S)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, Server]]:
    with valkey(tmp_path / "valkey") as store:
        environ = {
            "LIMPET_SESSION_STORE": f"valkey://127.0.0.1:{store.port}",
            "LIMPET_SECRET": "a secret for the rolling restart",
            "LIMPET_SESSION_SECURE": "0",
            "LIMPET_NEAR_CACHE": "1",
        }
        started = {name: Server(name, environ) for name in NAMES}
        yield started
        for each in started.values():
            if each.process is not None and each.process.poll() is None:
                each.end(signal.SIGKILL)


@pytest.fixture
def running(servers: dict[str, Server], tmp_path: Path, limpet):
    targets = "".join(
        f'[[target_groups.web.targets]]\nname = "{each.name}"\naddress = "{each.address}"\n'
        for each in servers.values()
    )
    (tmp_path / "limpet.toml").write_text(
        '[access_log]\npath = "off"\n[[listeners]]\naddress = "127.0.0.1:0"\n'
        f"[target_groups.web]\n{targets}[target_groups.web.health_check]\n"
        "interval_s = 0.2\nhealthy_threshold = 1\npath = '/static/style.css'\n"
    )
    return limpet("up", str(tmp_path / "limpet.toml"), listen=None)


async def group(running) -> dict:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        status = (await client.get(f"http://{running.admin}/status")).json()
    return status["target_groups"][0]


async def until_healthy(running, names: str = NAMES) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            facts = {each["name"]: each["health"] for each in (await group(running))["targets"]}
            if facts == dict.fromkeys(names, "healthy"):
                return
            await asyncio.sleep(0.05)


async def command(running, *arguments: str) -> str:
    done = await asyncio.to_thread(running.command, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_rolling_restart_under_load_loses_no_session_and_fails_no_request(servers, running) -> None:
    tally = Tally()

    async def run() -> None:
        await until_healthy(running)
        async with shoppers(running.url, 12, tally) as users:
            async with shopping(users):
                await tally.more(100)
                for name, server in servers.items():
                    forecast = await command(running, "drain", name, "--dry-run")
                    assert ": 0 of " in forecast
                    said = await command(running, "drain", name, "--wait", "--timeout", "60")
                    assert said.endswith(f"{name}: drained\n")
                    server.end()
                    await tally.more(50)
                    server.start()
                    await command(running, "add", server.address, "--name", name)
                    await until_healthy(running)
                    await tally.more(100)
            carts = await count_carts(users)
        report("a rolling restart", tally, **carts)

    asyncio.run(run())
    assert tally.logged_out == {}
    assert tally.failed("GET") == {}
    assert tally.failed("POST") == {}
    facts = asyncio.run(group(running))
    assert facts["suspected_logouts"] == {}
    assert facts["moves"]["drain"] >= 1
    assert running.end() == 0


def test_a_killed_server_logs_nobody_out(servers, running) -> None:
    tally = Tally()

    async def run() -> None:
        await until_healthy(running)
        async with shoppers(running.url, 12, tally) as users:
            async with shopping(users):
                await tally.more(100)
                servers["B"].end(signal.SIGKILL)
                await tally.more(300)
            for user in users:
                await patiently(user.visit)
            await count_carts(users)

    asyncio.run(run())
    assert tally.logged_out == {}
    assert tally.cookies_set >= 12
    facts = asyncio.run(group(running))
    assert facts["suspected_logouts"] == {}
    assert running.end() == 0
