"""Ports for servers that must be told theirs, such as Valkey and nginx; limpet binds port 0 and says which.

A port that was free a moment ago need not be free when the server binds it. So these lie below
the range from which the kernel serves port 0 and outgoing connections, none is given out twice,
and the processes of pytest-xdist draw from different ones.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket

_FIRST, _LAST = 10_000, 32_767
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_MINE = range(_FIRST + _WORKER, _LAST, _WORKERS)
# Another run on the same machine most likely begins elsewhere.
_START = secrets.randbelow(len(_MINE))
_PORTS = itertools.cycle([*_MINE[_START:], *_MINE[:_START]])


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of a local address that nobody else is going to take."""
    return next(port for port in _PORTS if _is_free(address, port))


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
