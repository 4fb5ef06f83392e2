"""A stream's header section as an HTTP/1.1 request head.

The head then goes through the same strict parser as any other: what HTTP/1.1 refuses, HTTP/2 does
not get through either. Here only that is refused which could not be written as HTTP/1.1 without
meaning something else. Source: RFC 9113 sections 8.2 and 8.3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limpet.errors import ErrorKind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"[\x21-\x7e]+")


def http1_head(headers: Iterable[tuple[bytes, bytes]], *, has_body: bool) -> bytes:
    """Return the head of the same request in HTTP/1.1, its empty line included.

    Args:
        headers: pseudo header fields first, as HTTP/2 wants it.
        has_body: whether the stream goes on; a body without a length is sent in chunks.

    Raises:
        ProtocolError: it has no meaning in HTTP/1.1, or another one.
    """
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    cookies: list[bytes] = []
    hosts: list[bytes] = []
    has_length = False
    for name, value in headers:
        if name.startswith(b":"):
            pseudo[name] = value
            continue
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ProtocolError(ErrorKind.BAD_REQUEST, f"the field {name!r} cannot be read")
        if name == b"cookie":
            cookies.append(value)  # split for compression: RFC 9113 section 8.2.3
        elif name == b"host":
            hosts.append(value)
        else:
            if name == b"content-length":
                has_length = True
                if not has_body and value != b"0":
                    raise ProtocolError(ErrorKind.BAD_REQUEST, "the body is shorter than Content-Length says")
            lines.append(b"%b: %b\r\n" % (name, value))
    method, target, authority = _request_line(pseudo, hosts)
    if cookies:
        lines.append(b"cookie: %b\r\n" % b"; ".join(cookies))
    if has_body and not has_length:
        lines.append(b"transfer-encoding: chunked\r\n")
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (method, target, authority, b"".join(lines))


def _request_line(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> tuple[bytes, bytes, bytes]:
    method = pseudo.get(b":method", b"")
    if method == b"CONNECT":
        what = "WebSockets over HTTP/2" if b":protocol" in pseudo else "CONNECT"
        raise ProtocolError(ErrorKind.NOT_IMPLEMENTED, f"{what} is not supported; use HTTP/1.1")
    target, authority = pseudo.get(b":path", b""), pseudo.get(b":authority", hosts[0] if hosts else None)
    if not _TARGET.fullmatch(method) or not _TARGET.fullmatch(target) or authority is None:
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the request line cannot be read")
    if not _VALUE.fullmatch(authority) or any(host != authority for host in hosts):
        raise ProtocolError(ErrorKind.BAD_REQUEST, "Host and :authority differ")
    if not target.startswith(b"/") and target != b"*":
        raise ProtocolError(ErrorKind.BAD_REQUEST, "the path does not begin with a slash")
    return method, target, authority
