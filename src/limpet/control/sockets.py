"""Listening sockets: bound here, before anything depends on them, and handed to the data plane.

They belong to control, not to the servers that accept from them: several workers share one
socket, and a new process can go on where an old one stops without refusing a connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.core.address import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

_BACKLOG = 4096


def listen(address: Address, *, is_private: bool = False) -> list[socket.socket]:
    """Return sockets that listen on an address: one, or one for each IP address of a name.

    Args:
        is_private: a Unix socket is for its owner alone.

    Raises:
        OSError: it cannot be bound; nothing is.
    """
    if address.path is not None:
        remove_stale_socket(address.path)
        # From the first moment, not by a chmod afterwards.
        before = os.umask(0o177) if is_private else None
        try:
            return [_listening(socket.AF_UNIX, address.path)]
        finally:
            if before is not None:
                os.umask(before)
    port, found = address.port or 0, []
    try:
        for family, _, _, _, place in _places(address):
            found.append(_listening(family, (place[0], port, *place[2:])))
            port = found[0].getsockname()[1]
    except OSError:
        close(found)
        raise
    return found


def bound_address(address: Address, sockets: list[socket.socket]) -> Address:
    """Return an address with the port that the system chose."""
    if address.path is not None:
        return address
    return Address(host=address.host, port=sockets[0].getsockname()[1])


def close(sockets: Iterable[socket.socket], path: str | None = None) -> None:
    """Close listening sockets, and remove the file of a Unix socket."""
    for each in sockets:
        each.close()
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def remove_stale_socket(path: str) -> None:
    """Remove a socket file that nobody listens on: a process that was killed left it."""
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        Path(path).unlink()
    except OSError:
        pass
    finally:
        probe.close()


def _places(address: Address) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [each for each in found if each[0] in {socket.AF_INET, socket.AF_INET6}]  # type: ignore[misc]


def _listening(family: int, place: str | tuple[str | int, ...]) -> socket.socket:
    listening = socket.socket(family)
    try:
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(place)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening
