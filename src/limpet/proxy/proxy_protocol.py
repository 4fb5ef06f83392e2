"""The PROXY protocol, versions 1 and 2: a balancer in front tells whose connection this is.

Source: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

from limpet.errors import ErrorKind, ProtocolError

_SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE_V1 = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) ([0-9]{1,5}) ([0-9]{1,5})")
_MAX_V1_BYTES = 107
_MAX_V2_BYTES = 4096


class ProxyHeader(NamedTuple):
    """What a PROXY protocol header says.

    Attributes:
        size: bytes of the header.
        client_ip: of the original client; None for a check of the proxy itself (LOCAL, UNKNOWN).
        port: to which the client connected.
    """

    size: int
    client_ip: str | None
    port: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read the PROXY protocol header at the beginning of a connection.

    Returns:
        The header, or None while it is incomplete.

    Raises:
        ProtocolError: there is none, or it is malformed.
    """
    if data.startswith(_SIGNATURE_V2[: len(data)]):
        return _version_2(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _version_1(data)
    raise _malformed()


def _version_1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _MAX_V1_BYTES)
    if end < 0:
        if len(data) >= _MAX_V1_BYTES:
            raise _malformed()
        return None
    line = data[:end]
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(end + 2, None, 0)
    match = _LINE_V1.fullmatch(line)
    if match is None:
        raise _malformed()
    family, source, destination, *ports = [text.decode() for text in match.groups()]
    if max(int(port) for port in ports) > 65535:
        raise _malformed()
    kind = ipaddress.IPv4Address if family == "4" else ipaddress.IPv6Address
    try:
        client = kind(source)
        kind(destination)
    except ValueError:
        raise _malformed() from None
    return ProxyHeader(end + 2, str(client), int(ports[1]))


def _version_2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version_command, family, length = struct.unpack_from("!BBH", data, 12)
    size = 16 + length
    if version_command not in {0x20, 0x21} or size > _MAX_V2_BYTES:
        raise _malformed()
    if len(data) < size:
        return None
    if version_command == 0x20 or family in {0x00, 0x31}:  # LOCAL, or a family without addresses
        return ProxyHeader(size, None, 0)
    address_bytes = {0x11: 4, 0x21: 16}.get(family)
    if address_bytes is None or length < 2 * address_bytes + 4:
        raise _malformed()
    source = ipaddress.ip_address(data[16 : 16 + address_bytes])
    (port,) = struct.unpack_from("!H", data, 16 + 2 * address_bytes + 2)
    return ProxyHeader(size, str(source), port)


def _malformed() -> ProtocolError:
    return ProtocolError(ErrorKind.BAD_REQUEST, "no valid PROXY protocol header")
