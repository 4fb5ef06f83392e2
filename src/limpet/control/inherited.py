"""Listening sockets that this process did not bind: from systemd, or from the one it takes over from.

Source: sd_listen_fds(3) for LISTEN_FDS and LISTEN_PID.
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from limpet.control.upgrade import SOCKETS_VARIABLE

if TYPE_CHECKING:
    from limpet.core.address import Address

_FIRST_DESCRIPTOR = 3


class Inherited:
    """Sockets that wait to be claimed by a listener.

    Args:
        environ: of the process; read once.
    """

    def __init__(self, environ: dict[str, str]) -> None:
        self._handed: dict[str, list[list[socket.socket]]] = {
            address: [[_adopt(number) for number in group] for group in groups]
            for address, groups in json.loads(environ.get(SOCKETS_VARIABLE, "{}")).items()
        }
        self._activated: list[socket.socket] = []
        if environ.get("LISTEN_PID") == str(os.getpid()):
            count = int(environ.get("LISTEN_FDS", "0"))
            self._activated = [_adopt(_FIRST_DESCRIPTOR + number) for number in range(count)]

    def claim(self, address: Address) -> list[socket.socket]:
        """Return the sockets of a listener's address; none if there are none."""
        groups = self._handed.get(str(address))
        if groups:
            return groups.pop(0)
        found = [each for each in self._activated if _is_at(each, address)]
        self._activated = [each for each in self._activated if each not in found]
        return found

    def close(self) -> list[str]:
        """Close what nobody has claimed and return where it listened."""
        left = [each for groups in self._handed.values() for group in groups for each in group]
        left += self._activated
        self._handed, self._activated = {}, []
        names = [str(each.getsockname()) for each in left]
        for each in left:
            each.close()
        return names


def _adopt(number: int) -> socket.socket:
    os.set_inheritable(number, False)
    adopted = socket.socket(fileno=number)
    adopted.setblocking(False)
    return adopted


def _is_at(listening: socket.socket, address: Address) -> bool:
    name = listening.getsockname()
    if address.path is not None:
        return bool(name == address.path)
    return isinstance(name, tuple) and (name[0], name[1]) == (address.host, address.port)
