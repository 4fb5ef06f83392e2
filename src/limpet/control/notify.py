"""Tells systemd how the service is doing; nothing where there is no systemd.

Source: sd_notify(3), the protocol of NOTIFY_SOCKET.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify_ready() -> None:
    """Tell that clients are served, by this process from now on."""
    _notify(f"READY=1\nMAINPID={os.getpid()}")


def notify_reloading() -> None:
    """Tell that the configuration is read again; `notify_ready` ends it."""
    _notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """Tell that requests are let finish."""
    _notify("STOPPING=1")


def _notify(text: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + path[1:] if path.startswith("@") else path)
            sender.send(text.encode())
