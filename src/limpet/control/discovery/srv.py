"""Targets given by the SRV records of a DNS name: one target for each record.

The id of a target is a digest of the host and the port that its record names. The port is a part
of it because a host may run several instances, which differ in nothing else; the address is not,
so an instance that gets another address keeps its id.

Source: RFC 2782. The lowest priority is for ordinary targets, all others are backups.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from limpet.config.compile import target_id
from limpet.control.discovery.contract import DiscoveryError
from limpet.control.discovery.dns import RETRY_S, next_look_s, reason
from limpet.control.discovery.resolver import Service, services
from limpet.core.address import Address
from limpet.core.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.config.discovery_schema import DiscoverySettings
    from limpet.control.discovery.contract import LookUp, Report
    from limpet.control.discovery.resolver import Addresses

_MAX_WEIGHT = 1000


async def watch(settings: DiscoverySettings, interval_s: float, report: Report, look_up: LookUp) -> None:
    """Report a target for each SRV record of a name."""
    addresses: dict[str, str] = {}
    while True:
        wait_s = min(RETRY_S, interval_s)
        try:
            records, ttl_s = await services(settings.name or "", settings.servers)
            found, errors = await _look_up_all(records, settings.servers, look_up)
        except (DiscoveryError, TimeoutError) as error:
            report.failed(reason(error))
        else:
            kept = {host: addresses[host] for host in errors if host in addresses}
            addresses = kept | {host: _one(answer, addresses.get(host)) for host, answer in found.items()}
            missing = next((f"{host}: {reason(error)}" for host, error in errors.items()), "")
            report.found(_targets(records, addresses, is_tls=settings.https), missing)
            if not errors:
                ttls_s = [answer.ttl_s for answer in found.values() if answer.ttl_s is not None]
                wait_s = next_look_s(min([ttl_s, *ttls_s]), interval_s)
        await asyncio.sleep(wait_s)


async def _look_up_all(
    records: Iterable[Service], servers: tuple[str, ...], look_up: LookUp
) -> tuple[dict[str, Addresses], dict[str, Exception]]:
    found: dict[str, Addresses] = {}
    errors: dict[str, Exception] = {}

    async def one(host: str) -> None:
        try:
            found[host] = await look_up(host, servers)
        except (DiscoveryError, TimeoutError) as error:
            errors[host] = error

    # "." is the record that says there is no such service.
    await asyncio.gather(*[one(host) for host in sorted({record.host for record in records} - {""})])
    return found, errors


def _one(answer: Addresses, known: str | None) -> str:
    # A record is one server, whatever addresses its host has; the one in use is kept.
    return known if known is not None and known in answer.addresses else answer.addresses[0]


def _targets(records: list[Service], addresses: dict[str, str], *, is_tls: bool) -> list[Target]:
    first = min((record.priority for record in records), default=0)
    heaviest = Counter[int]()
    for record in records:
        heaviest[record.priority] = max(heaviest[record.priority], record.weight)
    return [
        Target(
            id=target_id(f"{record.host}:{record.port}"),
            address=Address(host=addresses[record.host], port=record.port, is_tls=is_tls),
            weight=_weight(record.weight, heaviest[record.priority]),
            is_backup=record.priority > first,
            host_name=record.host,
        )
        for record in records
        if record.host in addresses
    ]


def _weight(weight: int, heaviest: int) -> int:
    # 0 is "a small chance" there and "no new session" here.
    scaled = weight if heaviest <= _MAX_WEIGHT else round(weight * _MAX_WEIGHT / heaviest)
    return max(scaled, 1)
