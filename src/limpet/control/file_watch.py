"""Notices that a file was changed or replaced.

Once a second its size, time and identity are compared: editors and deployments replace files by
renaming, and Kubernetes swaps links, which a watch on the file's inode would miss.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: Seconds between two looks.
INTERVAL_S = 1.0


def watch_file(path: Path, on_change: Callable[[], None]) -> None:
    """Call `on_change` after each change of a file, as long as the event loop runs."""
    loop = asyncio.get_running_loop()

    def look(before: tuple[int, int, int] | None) -> None:
        now = mark(path)
        if now is not None and now != before:
            on_change()
        loop.call_later(INTERVAL_S, look, now or before)

    loop.call_later(INTERVAL_S, look, mark(path))


def watch_files(paths: Callable[[], Iterable[Path]], on_change: Callable[[], None]) -> None:
    """Call `on_change` after files have changed that belong together, as long as the event loop runs.

    It waits until nothing has changed for a second: a certificate and its key are two files.

    Args:
        paths: asked each time which files there are; one that is new has not changed.
    """
    loop = asyncio.get_running_loop()

    def look(settled: dict[Path, tuple[int, int, int]], before: dict[Path, tuple[int, int, int]]) -> None:
        now = {path: found for path in paths() if (found := mark(path)) is not None}
        is_same = all(settled.get(path, found) == found for path, found in now.items())
        if not is_same and now == before:
            on_change()
        if is_same or now == before:
            settled = settled | now
        loop.call_later(INTERVAL_S, look, settled, now)

    loop.call_soon(look, {}, {})


def mark(path: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever a file is changed or replaced; None if there is none now."""
    try:
        found = path.stat()
    except OSError:  # between two steps of a replacement
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
