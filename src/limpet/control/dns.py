"""Targets given by a DNS name: one target for each address that the name has.

Their ids are the target's own and a digest of the address, even while the name has one address
only: a target that stays keeps its id, and so its sessions, when others come and go. A look-up
that fails, takes too long or finds nothing changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from limpet.config.compile import target_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from limpet.core.target import Target

    LookUp = Callable[[str], Awaitable[list[str]]]


_LOOK_UP_S = 5.0


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
        look_up: raises OSError when it cannot tell, UnicodeError for what cannot be a DNS name.
    """
    resolved = []
    for target in targets:
        name = target.address.host
        if name is None or not target.address.is_name:
            resolved.append(target)
            continue
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                known[name] = await look_up(name) or known.get(name, [])
        except (OSError, UnicodeError):  # TimeoutError is an OSError
            known.setdefault(name, [])
        resolved += _targets_of_name(target, known[name])
    return resolved


def _targets_of_name(target: Target, addresses: list[str]) -> list[Target]:
    return [
        replace(
            target,
            id=f"{target.id}-{target_id(address).removeprefix('t-')}",
            address=replace(target.address, host=address),
            host_name=target.address.host or "",
        )
        for address in addresses
    ]
