"""A flood of connections against `max_connections`, and what it does to memory and to a normal client.

First many connections are opened and held, three times as many as may be; then others are tried one after
the other while those are held. Each that is too many has to be closed within a second, memory must stay
where it was, and a normal client, which was there before, must not be much slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import machine
from lab.processes import tree
from lab.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

_REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
_PAUSE_S = 0.002
#: Connections per source address; there are about 28,000 ports for each.
_PER_ADDRESS = 5000
_SPARE_FILES = 200
_RESET = struct.pack("ii", 1, 0)
MAX_REFUSAL_S, MAX_GROWTH_MIB, MAX_P99_RATIO = 1.0, 50.0, 2.0
COLUMNS = (
    ("what", "phase"),
    ("connections", "connections"),
    ("held", "held"),
    ("closed", "closed"),
    ("slowest_ms", "slowest close ms"),
    ("rss_mib", "RSS MiB"),
    ("p50_ms", "client p50 ms"),
    ("p99_ms", "client p99 ms"),
)


def main() -> int:
    """Run the flood; return 1 if a bar is missed."""
    arguments = _arguments()
    files = machine.raise_open_files()
    if files < arguments.held + _SPARE_FILES:
        arguments.held = files - _SPARE_FILES
        print(f"only {files} files may be open: {arguments.held} connections are opened")
    facts = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "workers": arguments.workers}
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
    rows = _measure(arguments)
    print_table(COLUMNS, rows)
    complaints = _complaints(rows)
    for complaint in complaints:
        print(f"missed: {complaint}")
    if arguments.json:
        text = json.dumps({"machine": facts, "rows": rows, "missed": complaints}, indent=1)
        arguments.json.write_text(text + "\n")
    return 1 if complaints else 0


def _measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        target = stack.enter_context(_role(_serve))
        pid, port = stack.enter_context(_limpet(target.recv(), arguments))
        normal = stack.enter_context(_role(_ask, port))
        normal.recv()  # it is connected
        time.sleep(arguments.seconds)
        rows = [_row("before", pid, normal, connections=1, held=1)]
        held, times = _hold(port, arguments.held)
        stack.callback(lambda: [each.close() for each in held])
        rows.append(_row("held", pid, normal, times, connections=arguments.held, held=len(held)))
        time.sleep(arguments.seconds)
        rows.append(_row("quiet, held", pid, normal, connections=0, held=len(held)))
        times = [_attempt(port, number) for number in range(arguments.attempts)]
        rows.append(_row("in sequence", pid, normal, times, connections=len(times), held=len(held)))
        for each in held:
            _reset(each)
        time.sleep(arguments.seconds)
        rows.append(_row("after", pid, normal, connections=0, held=0))
    return rows


def _complaints(rows: list[dict[str, Any]]) -> list[str]:
    before = rows[0]
    found = []
    for row in rows[1:]:
        name = row["what"]
        if row["slowest_ms"] > MAX_REFUSAL_S * 1000:
            found.append(f"{name}: a connection was closed after {row['slowest_ms']:.0f} ms only")
        if row["p99_ms"] > before["p99_ms"] * MAX_P99_RATIO:
            found.append(f"{name}: p99 is {row['p99_ms'] / before['p99_ms']:.1f} times that before")
    grown_mib = rows[3]["rss_mib"] - rows[2]["rss_mib"]
    if grown_mib > MAX_GROWTH_MIB:
        found.append(f"memory grew by {grown_mib:.0f} MiB in the sequence")
    return found


def _row(
    what: str,
    pid: int,
    normal: Connection,
    times: Sequence[float] = (),
    **counts: int,
) -> dict[str, Any]:
    normal.send(None)
    took_s = sorted(normal.recv())
    return {
        "what": what,
        **counts,
        "closed": len(times),
        "slowest_ms": max(times, default=0.0) * 1000,
        "rss_mib": sum(_rss_bytes(each) for each in tree(pid)) / 1048576,
        "p50_ms": took_s[len(took_s) // 2] * 1000,
        "p99_ms": took_s[len(took_s) * 99 // 100] * 1000,
    }


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _connect(port: int, number: int) -> socket.socket:
    source = f"127.0.1.{1 + number // _PER_ADDRESS % 200}"
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def _hold(port: int, count: int) -> tuple[list[socket.socket], list[float]]:
    # Returns the connections that stay, and how long it took to close each other.
    poll = select.epoll()
    opened: dict[int, tuple[socket.socket, float]] = {}
    times: list[float] = []

    def look(wait_s: float) -> None:
        for descriptor, _ in poll.poll(wait_s):
            connection, since_s = opened.pop(descriptor)
            times.append(time.monotonic() - since_s)
            poll.unregister(descriptor)
            _reset(connection)

    for number in range(count):
        connection = _connect(port, number)
        opened[connection.fileno()] = (connection, time.monotonic())
        poll.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
        look(0)
    until_s = time.monotonic() + 2 * MAX_REFUSAL_S
    while time.monotonic() < until_s:
        look(0.1)
    poll.close()
    return [connection for connection, _ in opened.values()], times


def _attempt(port: int, number: int) -> float:
    # Returns how long it took until the connection was closed.
    began_s = time.monotonic()
    connection = _connect(port, number)
    try:
        connection.sendall(_REQUEST)
        answer = connection.recv(1000)
    except ConnectionError:
        answer = b""
    if answer:
        raise SystemExit("a connection above the limit was served")
    took_s = time.monotonic() - began_s
    _reset(connection)
    return took_s


def _reset(connection: socket.socket) -> None:
    # So that no port is kept for a minute.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


@contextmanager
def _limpet(target_port: int, arguments: argparse.Namespace) -> Iterator[tuple[int, int]]:
    port, admin_port = machine.free_ports(2)
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "limpet.toml"
        config.write_text(f"""
workers = {arguments.workers}
listeners = [{{ address = "127.0.0.1:{port}" }}]
admin.address = "127.0.0.1:{admin_port}"
access_log.path = "off"
clients = {{ max_connections = {arguments.limit}, keep_alive_s = 3600 }}
target_groups.web.targets = ["http://127.0.0.1:{target_port}"]
""")
        process = subprocess.Popen(
            [machine.limpet_command(), "up", str(config)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "XDG_STATE_HOME": directory},
        )
        try:
            _await_listening(port)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(30)


def _await_listening(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("limpet did not start")


@contextmanager
def _role(play: Any, *arguments: Any) -> Iterator[Connection]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=play, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


def _ask(pipe: Connection, port: int) -> None:
    # The normal client: one connection, a request every few milliseconds.
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    took_s: list[float] = []
    pipe.send(None)
    while True:
        began_s = time.monotonic()
        connection.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(b"hello"):
            part = connection.recv(4096)
            if not part:
                raise SystemExit("the normal client's connection was closed")
            answer += part
        took_s.append(time.monotonic() - began_s)
        time.sleep(_PAUSE_S)
        if pipe.poll():
            pipe.recv()
            pipe.send(took_s)
            took_s = []


class _Target(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(_RESPONSE * data.count(b"\r\n\r\n"))


def _serve(pipe: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Target, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--limit", type=int, default=5000, metavar="N", help="max_connections (default: 5000)"
    )
    parser.add_argument(
        "--held", type=int, default=15_000, metavar="N", help="opened at once (default: 15000)"
    )
    parser.add_argument("--attempts", type=int, default=100_000, metavar="N", help="default: 100000")
    parser.add_argument("--seconds", type=float, default=5, help="of quiet before and after (default: 5)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
