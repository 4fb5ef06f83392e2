"""The address that a request comes from."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.rules.subject import Subject


class SourceIp:
    """Holds if the client's address is in one of the networks.

    The address is the one behind trusted proxies; X-Forwarded-For of anybody else does not count.
    """

    kind = "source_ip"
    is_of_line = False
    __slots__ = ("networks",)

    def __init__(self, networks: tuple[str, ...]) -> None:
        self.networks = tuple(ip_network(network, strict=False) for network in networks)

    def holds(self, subject: Subject) -> bool:
        """Return whether the client is in one of the networks."""
        address = _address(subject.request.client_ip)
        return address is not None and any(address in network for network in self.networks)


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:  # a Unix socket has none
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
