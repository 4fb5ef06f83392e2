"""Whether a SQLite file has changed: its data version, asked over a connection that never writes.

The number is another one after every commit of any other connection, of any process. Asking takes some
microseconds and reads no table. A file that was replaced has another inode.

Source: SQLite documentation, "PRAGMA data_version".
"""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: As long as a file is being made anew; else nobody holds up a reader.
_WAIT_S = 0.05


class Versions:
    """The watch of a file.

    Args:
        path: of the file.
        file: returns its device and inode; None if there is none.
    """

    def __init__(self, path: str, file: Callable[[str], tuple[int, int] | None]) -> None:
        self._path = path
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[tuple[int, int], object] | None = None

    def begin(self) -> object | None:
        """Return the stamp of what is read from now on: which connection said which number."""
        with self._lock:
            try:
                return self._now()
            except sqlite3.Error:
                self._close()
                return None

    def holds(self, stamp: object) -> bool:
        """Whether nothing was committed since."""
        return self.begin() == stamp

    def close(self) -> None:
        """Close the connection; it opens again when it is needed."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """Close the connection: SQLite's locks do not survive a fork."""
        self._lock.acquire()
        self._close()

    def after_fork(self) -> None:
        """Let go of the lock."""
        self._lock.release()

    def _now(self) -> object | None:
        file = self._file(self._path)
        if file is None:
            self._close()
            return None
        if self._opened is None or self._opened[0] != file or self._connection is None:
            self._close()
            self._connection = sqlite3.connect(
                self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._opened = (file, object())
            if self._file(self._path) != file:
                return None
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return self._opened[1], version

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._opened = None
