"""Blocking clients in time: name look-ups, connections and replies end when their operation must.

A socket's own timeout starts anew with every byte, and a name look-up has none. `Within` says when
the operations of this thread must have ended; sockets that `connect` opens keep to it.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Addresses = list[tuple[Any, ...]]
#: A socket takes this much without waiting, if the other side has read what was sent before.
_AT_ONCE_BYTES = 16384


class _Ends(threading.local):
    at_s: float = math.inf


_ends = _Ends()


class Within:
    """Let what this thread does with timed sockets fail with `TimeoutError` after that long."""

    __slots__ = ("_before_s", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._before_s, _ends.at_s = _ends.at_s, time.monotonic() + self._seconds

    def __exit__(self, *_: object) -> None:
        _ends.at_s = self._before_s


def left_s() -> float:
    """Return how long this thread's operation may still take; infinity outside `Within`.

    Raises:
        TimeoutError: no longer.
    """
    left = _ends.at_s - time.monotonic()
    if left <= 0:
        raise TimeoutError("the operation takes too long")
    return left


class TimedSocket:
    """A socket whose calls end with their operation; all else is the socket's own.

    Args:
        limit_s: for one call; as `settimeout` sets it.
    """

    def __init__(self, sock: Any, limit_s: float | None = None) -> None:
        self._sock = sock
        self._limit_s = limit_s

    def settimeout(self, limit_s: float | None) -> None:
        """Set how long one call may take at most."""
        self._limit_s = limit_s

    def arm(self) -> None:
        """Give the socket as much time as is left."""
        left = min(left_s(), math.inf if self._limit_s is None else self._limit_s)
        self._sock.settimeout(None if left == math.inf else left)

    def connect(self, address: Any) -> None:
        """Connect in time."""
        self.arm()
        self._sock.connect(address)

    def ask(self, data: bytes, limit_bytes: int) -> bytes:
        """Send in time, and receive the first of the answer."""
        self.arm()
        self._sock.sendall(data)
        if len(data) > _AT_ONCE_BYTES:
            self.arm()
        received: bytes = self._sock.recv(limit_bytes)
        return received

    def sendall(self, data: Any) -> None:
        """Send in time."""
        self.arm()
        self._sock.sendall(data)

    def recv(self, *arguments: Any) -> bytes:
        """Receive in time."""
        self.arm()
        received: bytes = self._sock.recv(*arguments)
        return received

    def recv_into(self, *arguments: Any) -> int:
        """Receive in time."""
        self.arm()
        count: int = self._sock.recv_into(*arguments)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def connect(host: str, port: int, limit_s: float | None) -> TimedSocket:
    """Open a TCP connection to the first of a host's addresses that answers.

    Raises:
        OSError: none does, or not in time.
    """
    error: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in look_up(host, port):
        sock = TimedSocket(socket.socket(family, kind, protocol), limit_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.connect(address)
        except OSError as failed:
            sock.close()
            error = failed
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


def places(addresses: Iterable[tuple[str, int]]) -> str:
    """Return what names servers for everybody: what is called localhost is another one on each machine."""
    named = [
        f"{socket.gethostname()}/{host}:{port}" if _is_local(host) else f"{host}:{port}"
        for host, port in addresses
    ]
    return " ".join(sorted(named))


def _is_local(host: str) -> bool:
    return host.lower() in {"localhost", "::1"} or host.startswith("127.")


# Names. A look-up cannot be stopped, so each name has at most one, in a thread of its own that holds up
# nobody: not an event loop, not the end of the process, not the threads that the app needs.

_lock = threading.Lock()
_under_way: dict[tuple[str, int], Future[Addresses]] = {}


def look_up(host: str, port: int) -> Addresses:
    """Return a host's addresses as `socket.getaddrinfo` does.

    Raises:
        OSError: there is none, or not in time.
    """
    known = _as_numbers(host, port)
    if known is not None:
        return known
    left = left_s()
    return _asked(host, port).result(None if left == math.inf else left)


async def alook_up(host: str, port: int) -> Addresses:
    """Do what `look_up` does without blocking the event loop."""
    known = _as_numbers(host, port)
    return known if known is not None else await asyncio.wrap_future(_asked(host, port))


def _as_numbers(host: str, port: int) -> Addresses | None:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return None


def _asked(host: str, port: int) -> Future[Addresses]:
    with _lock:
        future = _under_way.get((host, port))
        if future is None:
            future = _under_way[host, port] = Future()
            future.set_running_or_notify_cancel()  # from now on nobody's cancellation is everybody's
            threading.Thread(target=_ask, args=(host, port, future), daemon=True).start()
        return future


def _ask(host: str, port: int, future: Future[Addresses]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear it
        _under_way.pop((host, port), None)
        future.set_exception(error)
    else:
        _under_way.pop((host, port), None)
        future.set_result(found)


def _forget() -> None:
    # The threads of the parent process are not here.
    global _lock  # noqa: PLW0603  # it may be held by one of them
    _lock = threading.Lock()
    _under_way.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
