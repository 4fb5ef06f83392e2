"""What a target is told about the client: X-Forwarded-* and Forwarded.

Fields that came with the request count only if the peer is a trusted proxy; from anybody else
they are dropped, because targets believe them. Source: RFC 7239; X-Forwarded-* by custom.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.proxy.http1.request import Request

#: Lists that limpet makes longer; the others are kept as they came.
EXTENDED = frozenset({b"x-forwarded-for", b"forwarded"})

_FOR = re.compile(rb'(?i:for)="?(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::[0-9]+)?"?')


def client_address(request: Request, peer_ip: str, is_trusted: Callable[[str], bool]) -> str:
    """Return the address of the client behind trusted proxies.

    The addresses are read from the nearest to the farthest; the first that is not a trusted
    proxy is the client, whatever stands before it.

    Args:
        request: with `forwarded` fields of a trusted peer.
        peer_ip: of the connection.
    """
    client_ip = peer_ip
    for address in reversed(_addresses(request)):
        if address is None:
            break
        client_ip = address
        if not is_trusted(address):
            break
    return client_ip


def forwarded_fields(request: Request, peer_ip: str, port: int, *, is_trusted: bool) -> bytes:
    """Return X-Forwarded-For, -Proto, -Port, -Host and Forwarded, as whole field lines.

    Args:
        request: its `forwarded` fields are kept and extended if the peer `is_trusted`; the
            caller has cut them otherwise.
        peer_ip: of the connection; empty on a Unix socket.
        port: on which the request came in.
    """
    scheme = b"https" if request.is_https else b"http"
    came = request.fields.forwarded if is_trusted else []
    names = {name for name, _ in came}
    host = request.fields.host
    peer = peer_ip.encode()
    # One line each: applications that read fields into a dictionary see the last line only.
    chain = [value for name, value in came if name == b"x-forwarded-for"]
    elements = [value for name, value in came if name == b"forwarded"]
    if peer:
        element = b"for=" + (b'"[%b]"' % peer if b":" in peer else peer)
        if not elements:
            element += (b';host="%b"' % host if host else b"") + b";proto=" + scheme
        chain.append(peer)
        elements.append(element)
    lines = []
    if chain:
        lines.append(b"X-Forwarded-For: " + b", ".join(chain))
    if elements:
        lines.append(b"Forwarded: " + b", ".join(elements))
    if b"x-forwarded-proto" not in names:
        lines.append(b"X-Forwarded-Proto: " + scheme)
    if b"x-forwarded-port" not in names and port:
        lines.append(b"X-Forwarded-Port: %d" % port)
    if b"x-forwarded-host" not in names and host:
        lines.append(b"X-Forwarded-Host: " + host)
    return b"".join([line + b"\r\n" for line in lines])


def _addresses(request: Request) -> list[str | None]:
    # X-Forwarded-For if it is there, else Forwarded; None stands for an unreadable element.
    listed = [v for name, v in request.fields.forwarded if name == b"x-forwarded-for"]
    if listed:
        return [_address(part) for part in b",".join(listed).split(b",")]
    elements = b",".join([v for name, v in request.fields.forwarded if name == b"forwarded"]).split(b",")
    matches = [_FOR.search(element) for element in elements]
    return [_address(match[1]) if match else None for match in matches]


def _address(text: bytes) -> str | None:
    host = text.strip(b" \t").decode("latin-1")
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:  # an IPv4 address with a port, as some proxies write it
        host = host.partition(":")[0]
    if "%" in host:  # a zone may be any text, quotation marks too, and means nothing elsewhere
        return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
