"""Where a run takes place: a temporary directory, and processes in it that end with it."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lab import machine
from lab.processes import Process

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

__all__ = ["Place", "Process", "tell"]


class Place:
    """A temporary directory and the processes at work in it; all cores are theirs.

    Attributes:
        directory: for configurations, logs and sockets; removed at the end.
        open_files: how many files each process may open.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        self.open_files = machine.raise_open_files()
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="limpet-hot-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, argv: Sequence[str]) -> Process:
        """Start a process that ends with the place."""
        process = Process(name, argv, self._cores, self.directory)
        self._stack.callback(process.stop)
        return process

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.directory / name
        path.write_text(text)
        return path


def tell(process: Process, which: signal.Signals) -> None:
    """Send a signal to a process, if it still runs."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, which)
