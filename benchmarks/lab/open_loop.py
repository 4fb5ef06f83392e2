"""Load at a given rate, in an open loop: requests are sent when they are due, answered or not.

Theory of operation. The times at which requests are due are drawn beforehand: independent
users, so the gaps are exponential, from a fixed seed, so every proxy gets the same arrivals.
A latency counts from the time a request was *due*: one that had to wait, because the proxy
was slow with others (no connection was free) or this program was late, is charged for it.
So a stall shows in every request that fell into it ("coordinated omission" would hide it).
How late this program was on its own account is reported as `lag`: no latency means much
that is not well above it.

An event loop cannot time this: libuv and epoll_wait count milliseconds. `select` takes
microseconds, so it waits here, for one descriptor: the epoll that watches the connections.

usage: python -m lab.open_loop PORT HEADS RATE SECONDS SEED   (HEADS: a JSON list of requests)
prints JSON: p50_ms, p99_ms, lag_p99_ms, requests, errors, cpu_us (of this program, per request)
"""

from __future__ import annotations

import ctypes
import gc
import json
import random
import select
import socket
import sys
import time
from array import array
from collections import deque
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from lab.messages import answer_length

CONNECTIONS = 128
#: Sent before the latencies count: connections to targets are opened, caches warmed.
WARM_UP_S = 1.0
#: How long answers are waited for after the last request was sent.
PATIENCE_S = 5.0

_PR_SET_TIMERSLACK = 29  # of prctl(2): how much later than asked the kernel may wake us up, in ns


class Connection:
    """A connection to the proxy, with at most one request under way."""

    __slots__ = ("due_s", "is_busy", "received", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.received = b""
        self.due_s = 0.0
        self.is_busy = False

    def read(self) -> bool | None:
        """Read what has come; return whether a 200 is complete, or None if that is not known yet."""
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return False
        self.received += data
        length = answer_length(self.received)
        if length is None or len(self.received) < length:
            return None
        is_ok = self.received.startswith(b"HTTP/1.1 200")
        self.received = b""
        return is_ok


class OpenLoop:
    """One run of load; see the head of this module."""

    def __init__(self, port: int, heads: list[bytes], due: list[float]) -> None:
        self._port = port
        self._heads = cycle(heads)
        self._due = due  # ascending, in seconds since the start
        self._sent = 0
        self._under_way = 0
        self._is_starved = False  # requests are due, but no connection has been free for them
        self._epoll = select.epoll()
        self._by_fd: dict[int, Connection] = {}
        self._free: deque[Connection] = deque()
        self.latencies_s = array("d")
        self.lags_s = array("d")
        self.errors = 0
        for _ in range(CONNECTIONS):
            self._connect()

    def run(self) -> None:
        """Send everything that is due, until all is answered or patience has run out."""
        start_s = time.perf_counter() + 0.01
        end_s = start_s + self._due[-1] + PATIENCE_S
        while (self._sent < len(self._due) or self._under_way) and time.perf_counter() < end_s:
            self._send_due(start_s)
            next_s = end_s
            if not self._is_starved and self._sent < len(self._due):
                next_s = start_s + self._due[self._sent]
            if select.select((self._epoll,), (), (), max(0.0, next_s - time.perf_counter()))[0]:
                for fd, _ in self._epoll.poll(0):
                    self._receive(self._by_fd[fd])
        self.errors += self._under_way + len(self._due) - self._sent

    def _send_due(self, start_s: float) -> None:
        while self._sent < len(self._due):
            due_s = start_s + self._due[self._sent]
            now_s = time.perf_counter()
            if due_s > now_s:
                self._is_starved = False
                return
            if not self._free:
                self._is_starved = True
                return
            if not self._is_starved and self._due[self._sent] >= WARM_UP_S:
                self.lags_s.append(now_s - due_s)
            self._send(self._free.popleft(), due_s)

    def _send(self, connection: Connection, due_s: float) -> None:
        connection.due_s = due_s if self._due[self._sent] >= WARM_UP_S else 0.0
        connection.is_busy = True
        self._sent += 1
        self._under_way += 1
        with suppress(ConnectionError):  # `_receive` will hear of it
            connection.sock.send(next(self._heads))

    def _receive(self, connection: Connection) -> None:
        is_ok = connection.read()
        if is_ok is None:
            return
        if connection.is_busy:
            connection.is_busy = False
            self._under_way -= 1
        else:
            self._free.remove(connection)  # closed although nothing was asked of it
        if is_ok:
            if connection.due_s:
                self.latencies_s.append(time.perf_counter() - connection.due_s)
            self._free.append(connection)
            return
        self.errors += 1
        del self._by_fd[connection.sock.fileno()]
        connection.sock.close()
        self._connect()

    def _connect(self) -> None:
        connection = Connection(self._port)
        self._by_fd[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock, select.EPOLLIN)
        self._free.append(connection)


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Draw the times at which requests are due, in seconds since the start."""
    rng = random.Random(seed)
    due, times = 0.0, []
    while due < seconds:
        due += rng.expovariate(rate)
        times.append(due)
    return times


def percentile(values: array[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def main(port: str, heads: str, rate: str, seconds: str, seed: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    due = arrivals(float(rate), WARM_UP_S + float(seconds), int(seed))
    loop = OpenLoop(int(port), [head.encode() for head in json.loads(Path(heads).read_text())], due)
    gc.disable()
    cpu_s = time.process_time()
    loop.run()
    cpu_s = time.process_time() - cpu_s
    result = {
        "p50_ms": percentile(loop.latencies_s, 50) * 1e3,
        "p99_ms": percentile(loop.latencies_s, 99) * 1e3,
        "lag_p99_ms": percentile(loop.lags_s, 99) * 1e3,
        "requests": len(due),
        "errors": loop.errors,
        "cpu_us": cpu_s / len(due) * 1e6,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
