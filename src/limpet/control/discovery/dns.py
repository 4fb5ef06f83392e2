"""Targets given by a DNS name: one target for each address that the name has.

Their ids are a digest of the address, and `Membership` puts the configured target's own before it,
even while the name has one address only: a target that stays keeps its id, and so its sessions,
when others come and go or the port changes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet.config.compile import target_id
from limpet.control.discovery.contract import DiscoveryError
from limpet.control.discovery.resolver import LOOK_UP_S
from limpet.core.address import Address
from limpet.core.target import Target

if TYPE_CHECKING:
    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.contract import LookUp, Report

_MIN_TTL_S = 1.0
#: Seconds until the next look after one that failed.
RETRY_S = 5.0


async def watch(settings: DiscoverySettings, interval_s: float, report: Report, look_up: LookUp) -> None:
    """Report a target for each address of a name; its port is unknown."""
    name = settings.name or ""
    known: tuple[str, ...] = ()
    while True:
        wait_s = min(RETRY_S, interval_s)
        try:
            answer = await look_up(name, settings.servers)
        except (DiscoveryError, TimeoutError) as error:
            report.failed(reason(error))
        else:
            # Half an answer takes nobody out.
            both = tuple(dict.fromkeys((*answer.addresses, *known)))
            known = both if answer.is_partial else answer.addresses
            report.found([_target(name, address) for address in known])
            if not answer.is_partial:
                wait_s = next_look_s(answer.ttl_s, interval_s)
        await asyncio.sleep(wait_s)


def next_look_s(ttl_s: float | None, interval_s: float) -> float:
    """Return in how many seconds to look again: when the answer is old, but within the interval."""
    return interval_s if ttl_s is None else min(max(ttl_s, _MIN_TTL_S), interval_s)


def reason(error: Exception) -> str:
    """Return why a look-up failed."""
    return f"no answer in {LOOK_UP_S:.0f} s" if isinstance(error, TimeoutError) else str(error)


def _target(name: str, address: str) -> Target:
    digest = target_id(address).removeprefix("t-")
    return Target(id=digest, address=Address(host=address), host_name=name)
