"""Which files the process opens to write, by an audit hook: logins may be kept in one."""

from __future__ import annotations

import os
import sys
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR


class WrittenFiles:
    """Remembers the paths from now on; a hook cannot be taken away again.

    Attributes:
        paths: absolute.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        # Sources: the audit events table of Python's documentation: open(path, mode, flags) and
        # sqlite3.connect(database).
        is_writing = event == "open" and isinstance(args[2], int) and args[2] & _WRITING
        if is_writing or event == "sqlite3.connect":
            self._add(args[0])

    def _add(self, path: object) -> None:
        text = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
        if not text or text.startswith((":", "/dev/", "/proc/", "file::")) or "__pycache__" in text:
            return
        self.paths.add(text if os.path.isabs(text) else os.getcwd() + os.sep + text)  # noqa: PTH109,PTH117
