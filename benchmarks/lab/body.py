"""Memory and speed while a 1 GiB body passes, up and down."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab import body_target, machine
from lab.body_target import BODY_BYTES, BREAK_S, CHUNK_BYTES
from lab.proxies import Proxy, start_proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lab.options import Options
    from lab.processes import Lab, Process
    from lab.tables import Row

COLUMNS = (
    ("proxy", "proxy"),
    ("way", "1 GiB"),
    ("growth_mib", "PSS growth MiB"),
    ("mib_per_s", "MiB/s"),
    ("cpu_s", "CPU s"),
)
_SAMPLE_S = 0.02


class PeakMemory:
    """Watches the memory of a process from a thread while a block runs."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before = self._peak = process.pss_bytes()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def growth_bytes(self) -> int:
        """The highest figure seen, less that of the beginning."""
        return self._peak - self._before

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._peak = max(self._peak, self._process.pss_bytes())


def measure(lab: Lab, options: Options) -> list[Row]:
    """Send a body through every proxy, each way."""
    [port] = machine.free_ports(1)
    target = lab.start("body-target", [sys.executable, str(Path(body_target.__file__)), str(port)])
    target.wait_until_it_answers(port)
    rows = []
    for name in options.proxies:
        proxy = start_proxy(lab, name, [port], logs=True, nginx=options.nginx)
        rows += [_row(proxy, "upload", _upload), _row(proxy, "download", _download)]
        proxy.process.stop()
    return rows


def _row(proxy: Proxy, way: str, transfer: Callable[[http.client.HTTPConnection], None]) -> Row:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    cpu_s = sum(proxy.process.cpu_s())
    started_s = time.perf_counter()
    with PeakMemory(proxy.process) as memory:
        transfer(connection)
    elapsed_s = time.perf_counter() - started_s - BREAK_S
    connection.close()
    return {
        "proxy": proxy.name,
        "way": way,
        "growth_mib": memory.growth_bytes / 2**20,
        "mib_per_s": BODY_BYTES / 2**20 / elapsed_s,
        "cpu_s": sum(proxy.process.cpu_s()) - cpu_s,
    }


def _upload(connection: http.client.HTTPConnection) -> None:
    # the target takes its break
    connection.request("PUT", "/body", body=_chunks(), headers={"Content-Length": str(BODY_BYTES)})
    answer = connection.getresponse()
    _expect(answer.status == 200, f"the upload was answered with {answer.status}")
    answer.read()


def _chunks() -> Iterator[bytes]:
    chunk = bytes(CHUNK_BYTES)
    for _ in range(BODY_BYTES // CHUNK_BYTES):
        yield chunk


def _download(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/body")
    answer = connection.getresponse()
    _expect(answer.status == 200, f"the download was answered with {answer.status}")
    buffer = bytearray(CHUNK_BYTES)
    received = 0
    is_rested = False
    while count := answer.readinto(buffer):
        received += count
        if not is_rested and received >= BODY_BYTES // 2:
            time.sleep(BREAK_S)
            is_rested = True
    _expect(received == BODY_BYTES, f"the download ended after {received} bytes")


def _expect(holds: bool, message: str) -> None:
    if not holds:
        sys.exit(message)
