"""Another process takes over without a connection being refused: an upgrade of limpet itself.

Theory of operation. The old process starts its own command line again, from the files as they are
now, and hands it its listening sockets. The new one reads the configuration, checks its targets
and serves; only then does it say so, and the old one stops accepting and lets its requests
finish. If the new one does not get that far, nothing has changed. Tickets are sealed, so sessions
stay where they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

SOCKETS_VARIABLE = "LIMPET_INHERITED_SOCKETS"
READY_VARIABLE = "LIMPET_READY_DESCRIPTOR"
_START_S = 60.0
#: What systemd tells the process that it started; not for its successor.
_OF_THIS_PROCESS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID")


class UpgradeError(Exception):
    """The new process does not serve; the old one goes on."""


async def hand_over(sockets: Mapping[str, Sequence[Sequence[socket.socket]]]) -> int:
    """Start a successor and wait until it serves.

    Args:
        sockets: by address as configured; one group of sockets for each listener of that address.

    Returns:
        Its process id.

    Raises:
        UpgradeError: it ended or took too long; it is gone.
    """
    inherited = {
        address: [[each.fileno() for each in group] for group in groups]
        for address, groups in sockets.items()
    }
    passed = [number for groups in inherited.values() for group in groups for number in group]
    ready, said = os.pipe()
    environ = {name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS}
    environ |= {SOCKETS_VARIABLE: json.dumps(inherited), READY_VARIABLE: str(said)}
    try:
        # Not asyncio's: its transport would take the successor along when this loop ends.
        process = subprocess.Popen(  # noqa: ASYNC220, S603  # our own command line; it does not wait
            [sys.executable, *sys.orig_argv[1:]], pass_fds=(*passed, said), env=environ
        )
    except OSError as error:
        os.close(ready)
        raise UpgradeError(f"it cannot be started: {error}") from None
    finally:
        os.close(said)
    if await _says_ready(ready):
        return process.pid
    process.kill()
    await asyncio.to_thread(process.wait)
    raise UpgradeError("the new process did not get to serve; its output says why")


async def _says_ready(descriptor: int) -> bool:
    # Its end of the pipe closes, with or without a word, when it serves or ends.
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(_START_S):
            await readable.wait()
        return os.read(descriptor, 16) != b""
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def say_ready() -> None:
    """Tell the process that this one takes over from that it serves; nothing if there is none."""
    text = os.environ.pop(READY_VARIABLE, None)
    os.environ.pop(SOCKETS_VARIABLE, None)
    if text is not None:
        with contextlib.suppress(OSError):
            os.write(int(text), b"ready")
        with contextlib.suppress(OSError):
            os.close(int(text))
