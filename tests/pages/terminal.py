"""A terminal of the test's own, and a command that runs in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

TIMEOUT_S = 30
_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a command as somebody at a terminal does.

    Attributes:
        text: what it has printed since the last `forget`, without colours and the like.
    """

    def __init__(self, arguments: list[str], columns: int = 120, lines: int = 30) -> None:
        self._end, theirs = pty.openpty()
        self._size(theirs, columns, lines)
        environ = {**os.environ, "TERM": "xterm"}
        environ.pop("COLUMNS", None)
        environ.pop("LINES", None)
        self.process = subprocess.Popen(
            arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
        )
        os.close(theirs)
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *what: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT_S)
        os.close(self._end)

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait for something to be printed."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while (found := re.search(pattern, self.text)) is None:
            assert self._read(deadline_s), f"{pattern!r} is not in:\n{self.text}"
        return found

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.text = ""

    def press(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size, as dragging its corner does."""
        self._size(self._end, columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def ends(self) -> int:
        """Return the exit code once it has ended by itself."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while self._read(deadline_s):
            pass
        return self.process.wait(TIMEOUT_S)

    def _read(self, deadline_s: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0, deadline_s - time.monotonic()))
        try:
            data = os.read(self._end, 65536) if ready else b""
        except OSError:  # the other end is closed
            data = b""
        self.text += _SEQUENCE.sub("", data.decode(errors="replace"))
        return bool(data)

    @staticmethod
    def _size(end: int, columns: int, lines: int) -> None:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
