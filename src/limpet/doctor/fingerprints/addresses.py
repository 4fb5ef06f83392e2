"""Balancer cookies in which a target's address can be read: BIG-IP, NetScaler, Envoy.

Each function returns `host:port`, or "" if the value has another form. Addresses are used to tell
replicas apart and are never contacted.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

_BIGIP_V4 = re.compile(r"([0-9]{1,10})\.([0-9]{1,5})\.[0-9]{4}")
_BIGIP_V6 = re.compile(r"vi([0-9a-f]{32})\.([0-9]{1,5})", re.IGNORECASE)
_BIGIP_DOMAIN = re.compile(r"rd[0-9]+o([0-9a-f]{32})o([0-9]{1,5})", re.IGNORECASE)
_NETSCALER = re.compile(r"[0-9a-f]{8}([0-9a-f]{8})[0-9a-f]*([0-9a-f]{4})", re.IGNORECASE)
_NETSCALER_ADDRESS, _NETSCALER_PORT = 0x03081E11, 0x3630
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9]{1,3}(?:\.[0-9]{1,3}){3}):([0-9]{1,5})")


def bigip(value: str) -> str:
    """Read a cookie of F5 BIG-IP, in its four open forms."""
    if match := _BIGIP_V4.fullmatch(value):
        if int(match[1]) > 0xFFFFFFFF or int(match[2]) > 0xFFFF:
            return ""
        address = ipaddress.IPv4Address(int(match[1]).to_bytes(4, "little"))
        return f"{address}:{_swapped(int(match[2]))}"
    if match := _BIGIP_V6.fullmatch(value):
        return f"[{_v6(match[1])}]:{_swapped(int(match[2]))}" if int(match[2]) <= 0xFFFF else ""
    if match := _BIGIP_DOMAIN.fullmatch(value):
        address6 = _v6(match[1])
        host = str(address6.ipv4_mapped) if address6.ipv4_mapped else f"[{address6}]"
        return f"{host}:{match[2]}"
    return ""


def netscaler(value: str) -> str:
    """Read a cookie of Citrix NetScaler."""
    match = _NETSCALER.fullmatch(value)
    if match is None or not value.lower().startswith("ffffffff"):
        return ""
    address = ipaddress.IPv4Address(int(match[1], 16) ^ _NETSCALER_ADDRESS)
    return f"{address}:{int(match[2], 16) ^ _NETSCALER_PORT}"


def envoy(value: str) -> str:
    """Read a cookie of Envoy's stateful session: an address, or a message with one, in base64."""
    try:
        data = base64.b64decode(value.strip('"'), validate=True)
    except (binascii.Error, ValueError):
        return ""
    match = _ADDRESS.search(data.decode("latin-1"))
    return match[0] if match and len(data) - len(match[0]) <= 16 else ""


def _swapped(port: int) -> int:
    return int.from_bytes(port.to_bytes(2, "little"), "big")


def _v6(digits: str) -> ipaddress.IPv6Address:
    return ipaddress.IPv6Address(bytes.fromhex(digits))
