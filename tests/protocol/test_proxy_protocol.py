"""The PROXY protocol's header, version 1 and 2: read exactly or refused."""

from __future__ import annotations

import struct

import pytest

from limpet.errors import ProtocolError
from limpet.proxy.proxy_protocol import ProxyHeader, parse_proxy_header

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 1234, 443)
IPV6 = bytes.fromhex("20010db8000000000000000000000001") * 2 + struct.pack("!HH", 1234, 443)


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2 + struct.pack("!BBH", command, family, len(body)) + body


READ = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\n", "192.0.2.1", 443),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 0 65535\r\n", "192.0.2.1", 65535),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "2001:db8::1", 443),
    (b"PROXY UNKNOWN\r\n", None, 0),
    (b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", None, 0),
    (v2(0x21, 0x11, IPV4), "192.0.2.1", 443),
    (v2(0x21, 0x21, IPV6), "2001:db8::1", 443),
    (v2(0x21, 0x11, IPV4 + b"\x01\x00\x02h2"), "192.0.2.1", 443),
    (v2(0x20, 0x00, b""), None, 0),
    (v2(0x20, 0x11, IPV4), None, 0),
    (v2(0x21, 0x00, b"xx"), None, 0),
]

REFUSED = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01",
    b"proxy TCP4 192.0.2.1 198.51.100.1 1234 443\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443 1\r\n",
    b"PROXY  TCP4 192.0.2.1 198.51.100.1 1234 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 65536\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 -1\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 1234 443\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.1 1234 443\r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 1234 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\n" + b" " * 107,
    b"PROXY " + b"a" * 200,
    v2(0x11, 0x11, IPV4),
    v2(0x22, 0x11, IPV4),
    v2(0x21, 0x11, IPV4[:-1]),
    v2(0x21, 0x21, IPV4),
    v2(0x21, 0x13, IPV4),
    V2 + struct.pack("!BBH", 0x21, 0x11, 65535),
    V2[:-1] + b"\r" + b"\x21\x11\x00\x0c" + IPV4,
]


LAX = [
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 4_3\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 +443\r\n",
    b"PROXY TCP4 192.0.2.1 nonsense 1234 443\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 nonsense 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1234 443\r\n",
]


@pytest.mark.parametrize(("data", "client_ip", "port"), READ)
def test_header_is_read_whole_or_in_parts(data: bytes, client_ip: str | None, port: int) -> None:
    assert parse_proxy_header(data + b"GET /") == ProxyHeader(len(data), client_ip, port)
    for end in range(1, len(data)):
        assert parse_proxy_header(data[:end]) is None


@pytest.mark.parametrize("data", REFUSED)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_proxy_header(data)


@pytest.mark.parametrize("data", LAX)
def test_version_1_is_read_exactly(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_proxy_header(data)
