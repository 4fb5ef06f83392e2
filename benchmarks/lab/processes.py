"""Processes that are pinned to cores, counted with all their children, and ended by their id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_START_S = 20.0
_STOP_S = 5.0


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants that are alive, parents first."""
    pids = [pid]
    for parent in pids:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):  # it has just ended
                pids.extend(map(int, children.read_text().split()))
    return pids


class Process:
    """A process that was started here, with its children.

    Attributes:
        name: for messages.
        pid: of the first of its processes.
        log: file with what it wrote to its standard output and error.
    """

    def __init__(self, name: str, argv: Sequence[str], cores: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.out"
        with self.log.open("wb") as out:
            self._popen = subprocess.Popen(
                [machine.tool("taskset"), "-c", cores, *argv],
                stdout=out,
                stderr=out,
                cwd=directory,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def cpu_s(self) -> tuple[float, float]:
        """Return the CPU seconds (user, kernel) of the whole tree since its start."""
        user = kernel = 0
        for pid in tree(self.pid):
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                # its own time, and that of the children that it has already buried
                user += int(fields[11]) + int(fields[13])
                kernel += int(fields[12]) + int(fields[14])
        return user * _TICK_S, kernel * _TICK_S

    def pss_bytes(self) -> int:
        """Return the memory of the whole tree, shared pages counted once."""
        total = 0
        for pid in tree(self.pid):
            with suppress(OSError):
                found = re.search(
                    r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
                )
                total += int(found[1]) * 1024 if found else 0
        return total

    def wait_until_it_answers(self, port: int) -> None:
        """Wait for a 200 on a port of the loopback address, or end with what the process said."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._popen.poll() is None:
            with suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
                return
            time.sleep(0.05)
        self.fail("did not start")

    def wait_for_file(self, path: Path) -> None:
        """Wait for a file that the process makes when it is ready."""
        deadline = time.monotonic() + _START_S
        while not path.exists():
            if time.monotonic() > deadline or self._popen.poll() is not None:
                self.fail("did not start")
            time.sleep(0.01)

    def fail(self, what: str) -> None:
        """End the benchmark with a message and the last lines of the process."""
        sys.exit(f"{self.name} {what}:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End the process, and whatever of its group outlives it."""
        self._popen.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


class Lab:
    """A temporary directory, the processes at work in it, and the cores they run on.

    Attributes:
        directory: for configurations, logs and sockets; removed at the end.
        proxy_core, load_cores: as taskset writes them.
        open_files: how many files each process may open.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.proxy_core, self.load_cores = machine.split_cores()
        self.open_files = machine.raise_open_files()
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="limpet-bench-")))
        os.sched_setaffinity(0, {int(core) for core in self.load_cores.split(",")})
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, argv: Sequence[str], *, is_proxy: bool = False) -> Process:
        """Start a process that ends with the lab."""
        process = Process(name, argv, self.proxy_core if is_proxy else self.load_cores, self.directory)
        self._stack.callback(process.stop)
        return process

    def write(self, name: str, text: str) -> Path:
        """Write a file of the lab."""
        path = self.directory / name
        path.write_text(text)
        return path
