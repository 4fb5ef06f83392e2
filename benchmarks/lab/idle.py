"""Memory per idle keep-alive connection."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from itertools import cycle, islice
from typing import TYPE_CHECKING

from lab.messages import answer_length, browser_heads, sticky_cookies
from lab.proxies import Proxy, start_proxy, start_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.options import Options
    from lab.processes import Lab
    from lab.tables import Row

COLUMNS = (
    ("proxy", "proxy"),
    ("connections", "idle connections"),
    ("fresh_kib", "KiB each, fresh"),
    ("used_kib", "KiB each, after a request"),
    ("pss_mib", "PSS MiB with none"),
    ("closed", "closed by the proxy"),
)
#: Connections per source address; there are about 28,000 ports for each.
_PER_ADDRESS = 5000
#: Files that this process and the proxies need for other things.
_SPARE_FILES = 500
#: Requests under way at a time.
_BATCH = 32
_SETTLE_S = 1.0


def measure(lab: Lab, options: Options) -> list[Row]:
    """Hold connections idle at one proxy after the other."""
    targets = start_targets(lab)
    count = min(options.idle_connections, lab.open_files - _SPARE_FILES)
    rows = []
    for name in options.proxies:
        proxy = start_proxy(lab, name, targets, logs=True, nginx=options.nginx)
        rows.append(_row(proxy, count))
        proxy.process.stop()
    return rows


def _row(proxy: Proxy, count: int) -> Row:
    heads = browser_heads(sticky_cookies(proxy.port))
    with ExitStack() as stack:
        none = _settled_pss(proxy)
        connections = []
        for i in range(count):
            source = f"127.0.0.{1 + i // _PER_ADDRESS}"
            connection = socket.create_connection(
                ("127.0.0.1", proxy.port), timeout=10, source_address=(source, 0)
            )
            connections.append(stack.enter_context(connection))
        fresh = _settled_pss(proxy)
        for first in range(0, count, _BATCH):
            _ask_all(connections[first : first + _BATCH], heads)
        used = _settled_pss(proxy)
        return {
            "proxy": proxy.name,
            "connections": count,
            "fresh_kib": (fresh - none) / count / 1024,
            "used_kib": (used - none) / count / 1024,
            "pss_mib": none / 2**20,
            "closed": sum(map(_is_closed, connections)),
        }


def _settled_pss(proxy: Proxy) -> int:
    time.sleep(_SETTLE_S)
    return proxy.process.pss_bytes()


def _ask_all(connections: Sequence[socket.socket], heads: Sequence[bytes]) -> None:
    for connection, head in zip(connections, islice(cycle(heads), len(connections)), strict=True):
        connection.sendall(head)
    for connection in connections:
        received, length = b"", None
        while length is None or len(received) < length:
            data = connection.recv(65536)
            if not data:
                message = "the proxy closed a connection instead of answering"
                raise ConnectionError(message)
            received += data
            length = answer_length(received)


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
