"""Looks up DNS names, with the time for which the answer is good.

A name in /etc/hosts goes to the system's resolver, as everywhere else; all others are asked for in
DNS, because the system's resolver does not tell the TTL. Where DNS knows no such name the system
has the last word: it may know others (mDNS, a directory).
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdatatype import RdataType

from limpet.control.discovery.contract import DiscoveryError
from limpet.core.address import parse_address

if TYPE_CHECKING:
    from dns.rdtypes.IN.SRV import SRV

#: Within which a look-up has to be answered.
LOOK_UP_S = 5.0
_HOSTS = Path("/etc/hosts")
_DNS_PORT = 53
_NEGATIVE = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


class Addresses(NamedTuple):
    """The addresses of a name.

    Attributes:
        addresses: IP addresses, IPv4 first; at least one.
        ttl_s: how long they are good for; None if nobody said.
        is_partial: one of the two families could not be looked up.
    """

    addresses: tuple[str, ...]
    ttl_s: float | None = None
    is_partial: bool = False


class Service(NamedTuple):
    """One SRV record.

    Source: RFC 2782.
    """

    priority: int
    weight: int
    host: str
    port: int


async def look_up(name: str, servers: tuple[str, ...]) -> Addresses:
    """Return the addresses of a name.

    Args:
        servers: `IP` or `IP:PORT` of DNS servers; the system's if there are none.

    Raises:
        DiscoveryError: there are none, or it cannot be told.
        TimeoutError: no answer in time.
    """
    async with asyncio.timeout(LOOK_UP_S):
        if not servers and _is_in_hosts(name):
            return await _ask_system(name)
        try:
            return await _ask_dns(name, servers)
        except (*_NEGATIVE, dns.resolver.NoResolverConfiguration) as error:
            if servers:
                raise DiscoveryError("DNS knows no address of it") from error
            return await _ask_system(name)


async def services(name: str, servers: tuple[str, ...]) -> tuple[list[Service], float]:
    """Return the SRV records of a name, sorted, and their TTL in seconds.

    Raises:
        DiscoveryError: there are none, or it cannot be told.
        TimeoutError: no answer in time.
    """
    try:
        async with asyncio.timeout(LOOK_UP_S):
            answer = await _resolver(servers).resolve(name, RdataType.SRV, search=True)
    except _NEGATIVE as error:
        raise DiscoveryError("DNS knows no SRV record of it") from error
    except (dns.exception.DNSException, OSError) as error:
        raise _cannot_tell(error) from error
    records = [cast("SRV", record) for record in answer]
    found = [
        Service(record.priority, record.weight, str(record.target).removesuffix(".").lower(), record.port)
        for record in records
    ]
    return sorted(found), answer.chaining_result.minimum_ttl


async def _ask_dns(name: str, servers: tuple[str, ...]) -> Addresses:
    resolver = _resolver(servers)
    asked = [resolver.resolve(name, kind, search=True) for kind in (RdataType.A, RdataType.AAAA)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found = [answer for answer in answers if not isinstance(answer, BaseException)]
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    unsaid = [error for error in errors if not isinstance(error, _NEGATIVE)]
    for error in unsaid:
        if not isinstance(error, dns.exception.DNSException | OSError):
            raise error
    if not found:
        # A server that does not say counts more than one that says no.
        raise _cannot_tell(unsaid[0]) if unsaid else errors[0]
    addresses = [address for answer in found for address in sorted(str(record) for record in answer)]
    ttl_s = min(answer.chaining_result.minimum_ttl for answer in found)
    return Addresses(tuple(addresses), ttl_s, is_partial=bool(unsaid))


def _resolver(servers: tuple[str, ...]) -> dns.asyncresolver.Resolver:
    # Made each time: resolv.conf changes under DHCP and VPNs.
    resolver = dns.asyncresolver.Resolver(configure=not servers)
    resolver.lifetime = LOOK_UP_S
    if servers:
        resolver.nameservers = [_server(text) for text in servers]
    return resolver


def _server(text: str) -> dns.nameserver.Nameserver:
    address = parse_address(text, default_port=_DNS_PORT)
    return dns.nameserver.Do53Nameserver(address.host or "", address.port or _DNS_PORT)


async def _ask_system(name: str) -> Addresses:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DiscoveryError("neither DNS nor the system knows an address of it") from error
    addresses = {str(entry[4][0]) for entry in found}
    return Addresses(tuple(sorted(addresses, key=lambda address: (":" in address, address))))


def _is_in_hosts(name: str) -> bool:
    try:
        text = _HOSTS.read_text("utf-8", errors="replace")
    except OSError:
        return False
    lines = (line.partition("#")[0].lower().split() for line in text.splitlines())
    return any(name.removesuffix(".").lower() in names[1:] for names in lines)


def _cannot_tell(error: BaseException) -> DiscoveryError | TimeoutError:
    if isinstance(error, TimeoutError | dns.exception.Timeout):
        return TimeoutError()
    if isinstance(error, dns.resolver.NoNameservers):
        return DiscoveryError("no DNS server answers the question")
    return DiscoveryError(str(error).lower().removesuffix("."))
