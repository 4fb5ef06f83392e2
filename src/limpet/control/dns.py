"""Targets given by a DNS name: one target for each address that the name has.

Their ids are made of the name and the address, so that a target that stays keeps its sessions
when others come and go. A look-up that fails or finds nothing changes nothing.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from limpet.config.compile import target_id
from limpet.core.address import Address

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Iterable

    from limpet.core.target import Target

    LookUp = Callable[[str], Awaitable[list[str]]]


def system_look_up(loop: asyncio.AbstractEventLoop) -> LookUp:
    """Return a look-up of a name's addresses by the system's resolver."""

    async def look_up(name: str) -> list[str]:
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return sorted({str(entry[4][0]) for entry in found})

    return look_up


async def resolve(targets: Iterable[Target], known: dict[str, list[str]], look_up: LookUp) -> list[Target]:
    """Return targets with IP addresses only.

    Args:
        known: addresses by name as of the last look-up; brought up to date.
        look_up: raises OSError when it cannot tell.
    """
    resolved = []
    for target in targets:
        name = target.address.host
        if name is None or not target.address.is_name:
            resolved.append(target)
            continue
        try:
            known[name] = await look_up(name) or known.get(name, [])
        except OSError:
            known.setdefault(name, [])
        resolved += _targets_of_name(target, known[name])
    return resolved


def _targets_of_name(target: Target, addresses: list[str]) -> list[Target]:
    port = target.address.port
    if len(addresses) == 1:  # the usual case keeps the id that the configuration gives
        return [replace(target, address=Address(host=addresses[0], port=port))]
    return [
        replace(target, id=target_id(f"{target.id} {address}"), address=Address(host=address, port=port))
        for address in addresses
    ]
