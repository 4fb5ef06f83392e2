"""Floods and slow clients against the installed command: others are served, and memory stays where it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BODY = b"x" * 300_000
#: slowhttptest's four attacks, each with as many connections as `_CLIENTS`.
ATTACKS = {
    "slow headers": ["-H", "-i", "1"],
    "slow bodies": ["-B", "-i", "1", "-s", "4096"],
    "slow reads": ["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32"],
    "ranges": ["-R", "-a", "5", "-b", "500"],
}
_CLIENTS, _SECONDS = 100, 5
_MAX_GROWTH_BYTES = 50 << 20


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.readline().strip():
            while self.rfile.readline().strip():
                pass
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            except ConnectionError:
                return


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1000

    def handle_error(self, request, client_address) -> None:
        """Say nothing: clients that break off are what this is about."""


@pytest.fixture
def target() -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_slow_clients_take_the_service_from_nobody(limpet, target, tmp_path) -> None:
    tool = shutil.which("slowhttptest")
    assert tool, "slowhttptest is not installed; on Debian: apt install slowhttptest"
    timeouts = {f"{name}_timeout_s": 2 for name in ("header", "body", "send")}
    clients = ", ".join(f"{name} = {value}" for name, value in timeouts.items())
    (tmp_path / "limpet.toml").write_text(
        f'listeners = [{{ address = "127.0.0.1:0" }}]\nclients = {{ {clients} }}\n'
        f'access_log.path = "off"\ntarget_groups.web.targets = ["{target}"]\n'
    )
    running = limpet("up", "limpet.toml", folder=tmp_path)
    assert len(httpx.get(running.url).content) == len(BODY)
    before = _rss_bytes(running.process.pid)
    amount = ["-c", str(_CLIENTS), "-r", "100", "-l", str(_SECONDS), "-p", "3", "-u", f"{running.url}/"]

    def attack(name: str) -> str:
        command = [tool, *amount, *ATTACKS[name]]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
        return done.stdout

    with ThreadPoolExecutor(len(ATTACKS)) as pool:
        outputs = dict(zip(ATTACKS, pool.map(attack, ATTACKS), strict=True))
    for name, output in outputs.items():
        # What its own probes have found, again and again.
        verdicts = re.findall(r"service available:[^A-Z]*([A-Z]+)", re.sub(r"\x1b\[[0-9;]*m", "", output))
        assert set(verdicts) == {"YES"}, f"{name}: {output[-3000:]}"
    assert _rss_bytes(running.process.pid) - before < _MAX_GROWTH_BYTES
    assert len(httpx.get(running.url).content) == len(BODY)
    assert running.end() == 0


def test_a_flood_of_connections_is_turned_away(tmp_path) -> None:
    figures = tmp_path / "figures.json"
    counts = {"limit": 100, "held": 300, "attempts": 2000, "seconds": 0.5}
    options = [f"--{name}={value}" for name, value in counts.items()]
    flood = [sys.executable, str(ROOT / "benchmarks" / "abuse.py"), *options, "--json", str(figures)]
    subprocess.run(flood, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    rows = {row["what"]: row for row in json.loads(figures.read_text())["rows"]}
    assert rows["held"]["held"] == 99  # the normal client is the 100th
    assert rows["held"]["closed"] == 201
    assert rows["in sequence"]["closed"] == 2000
    grown_mib = rows["in sequence"]["rss_mib"] - rows["quiet, held"]["rss_mib"]
    assert grown_mib < 10, "that is more than an allocator's whim"
