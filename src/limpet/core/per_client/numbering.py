"""Clients as numbers: an IPv4 address, or an IPv6 network of 64 bits, is one client.

A customer gets at least a /64 of IPv6 (RFC 6177), and may use all of its addresses. The numbers are
keyed hashes, so nobody can choose addresses that share a place in a table with somebody else's.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

#: Of a client that no limit concerns.
EXEMPT = 0
_REMEMBERED = 4096


class ClientNumbers:
    """Numbers clients.

    Args:
        salt: secret; the same salt gives the same numbers.
        exempt: networks whose clients all have the number `EXEMPT`.
    """

    def __init__(self, salt: bytes, exempt: Collection[IPv4Network | IPv6Network]) -> None:
        self._salt = salt
        self._exempt = exempt
        self.of = lru_cache(_REMEMBERED)(self._of)

    def _of(self, address: str) -> int:
        # Positive, and fits into 64 bits with a sign.
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:  # of a Unix socket, to which the system lets only those it should
            return EXEMPT
        parsed = _plain(parsed)
        if any(parsed in network for network in self._exempt):
            return EXEMPT
        network = parsed.packed[:8]
        digest = blake2b(network, digest_size=8, key=self._salt, person=b"limpet number").digest()
        return int.from_bytes(digest, "big") >> 1 or 1


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # A socket for both versions writes an IPv4 address as ::ffff:a.b.c.d.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
