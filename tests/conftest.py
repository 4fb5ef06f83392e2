"""What tests over real processes share: the installed `limpet` command, and what it says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

# What tests of several folders need; `importlib` mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent / "kit"))

ROOT = Path(__file__).parent.parent
COMMAND = str(Path(sys.executable).with_name("limpet"))
TIMEOUT_S = 60.0
# Requests are as patient as everything else that tests wait for: httpx's 5 s can pass on a busy machine.
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, TIMEOUT_S)


class Running:
    """A started `limpet up` or `limpet serve`, and the lines that it has printed so far."""

    def __init__(self, arguments: list[str], environ: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *arguments, "--admin", "127.0.0.1:0"],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._has_ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(match for line in self.lines if (match := re.search(pattern, line)))
            return bool(found) or self._has_ended

        with self._changed:
            self._changed.wait_for(look, TIMEOUT_S)
        assert found, f"no line matches {pattern!r} in:\n" + "\n".join(self.lines)
        return found[0]

    @property
    def url(self) -> str:
        """Where clients are served."""
        return self.line("listening on (https?://.*)")[1]

    @property
    def admin(self) -> str:
        """HOST:PORT of the admin listener."""
        return self.line("admin on http://(.*)")[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def end_successors(self) -> None:
        """End the processes that have taken over, if any still run: they hold the output open."""
        for line in list(self.lines):
            found = re.search(r"process (\d+) serves from now on", line)
            if found is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(found[1]), signal.SIGTERM)

    def wait(self) -> int:
        """Return the exit code once all output is read."""
        code = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return code

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `limpet` command that talks to this one."""
        return _run(*arguments, "--admin", self.admin)


def _run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.fixture(scope="session")
def run_limpet() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a `limpet` command to its end."""
    return _run


@pytest.fixture(scope="module")
def limpet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Start `limpet` commands on free ports, perhaps with more variables; they end with the test file."""
    started: list[Running] = []
    # Keys of tickets are kept there: not in the home of whoever runs the tests.
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}

    def start(
        *arguments: str, folder: Path = ROOT, listen: str | None = "127.0.0.1:0", **more: str
    ) -> Running:
        listening = ["--listen", listen] if listen is not None else []
        running = Running([*arguments, *listening], {**environ, **more}, folder)
        started.append(running)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
        running.end_successors()
    for running in started:
        try:
            running.wait()
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium without a window; it ends with the test file."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path is not None, "there is no chromium; ./check installs it"
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to run as root with one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()
