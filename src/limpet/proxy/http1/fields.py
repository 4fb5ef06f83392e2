"""What both directions share: field names with a meaning for framing, and editing a head.

A head is edited, not rebuilt: the bytes of the fields that limpet does not touch reach the
other side as they came, in their order and spelling.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limpet.errors import ErrorKind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limpet.core.request import Headers

#: Fields about one connection only; never forwarded. Source: RFC 9110 section 7.6.1.
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"})
#: Fields that frame the message: a Connection field that names one of them is an attack.
FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding"})
#: Fields that a trailer section must not carry. Source: RFC 9110 section 6.5.1.
NOT_IN_TRAILERS = (
    FRAMING
    | HOP_BY_HOP
    | frozenset(
        {
            b"authorization",
            b"cache-control",
            b"content-encoding",
            b"content-range",
            b"content-type",
            b"cookie",
            b"expect",
            b"forwarded",
            b"max-forwards",
            b"pragma",
            b"range",
            b"set-cookie",
            b"trailer",
            b"x-forwarded-for",
            b"x-forwarded-host",
            b"x-forwarded-port",
            b"x-forwarded-proto",
        }
    )
)

_TOKEN_LIST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_USUAL_OPTIONS = {b"keep-alive": (b"keep-alive",), b"close": (b"close",)}
_USUAL_SPELLING: dict[bytes, bytes] = {}


def content_length(values: list[bytes], kind: ErrorKind) -> int:
    """Read the only Content-Length of a message.

    Args:
        values: of every Content-Length field, in order; at least one.
        kind: the error for anything but one plain decimal number.

    Source: RFC 9112 section 6.3, of which the lenient branch for equal values is not taken.
    """
    value = values[0]
    if len(values) > 1:
        raise ProtocolError(kind, "more than one Content-Length")
    if not value.isdigit() or len(value) > 18:  # bytes.isdigit knows ASCII digits only
        raise ProtocolError(kind, "Content-Length is not one decimal number")
    return int(value)


def connection_options(values: Sequence[bytes], kind: ErrorKind) -> Sequence[bytes]:
    """Read Connection fields into lower-case options.

    Source: RFC 9110 section 7.6.1.
    """
    usual = _USUAL_OPTIONS.get(values[0]) if len(values) == 1 else None
    if usual is not None:
        return usual
    options = []
    for value in values:
        for part in value.lower().split(b","):
            option = part.strip(b" \t")
            if not option:
                continue
            if not _TOKEN_LIST.fullmatch(option):
                raise ProtocolError(kind, "Connection lists something that is no token")
            if option in FRAMING:
                raise ProtocolError(kind, "Connection names a field that frames the message")
            options.append(option)
    return list(dict.fromkeys(options))  # once each: every one is looked for in every field


def replace_field(head: bytes, name: bytes, value: bytes, replacement: bytes) -> bytes:
    r"""Replace one field line of a head.

    Args:
        head: a whole head; lines end with CRLF and none is folded.
        name: of the field, in lower case; `value` as it stands in the head.
        replacement: b"" to cut the line, or b"\r\nName: value" without a line end.
    """
    # The usual spelling and one space: a plain search, several times faster than a pattern.
    usual = _USUAL_SPELLING.get(name)
    if usual is None:
        usual = b"\r\n" + b"-".join([part.capitalize() for part in name.split(b"-")]) + b": "
        if len(_USUAL_SPELLING) < 1000:  # names in Connection are the client's choice
            _USUAL_SPELLING[name] = usual
    line = usual + value + b"\r\n"
    start = head.find(line)
    if start >= 0:
        return head[:start] + replacement + head[start + len(line) - 2 :]
    # Any other spelling. Several lines may have the name: the one with this value is meant.
    mark = b"\r\n" + name + b":"
    lowered = head.lower()
    start = lowered.find(mark)
    while start >= 0:
        end = head.index(b"\r\n", start + 2)
        if head[start + len(mark) : end].strip(b" \t") == value:
            return head[:start] + replacement + head[end:]
        start = lowered.find(mark, end)
    return head


def cut_fields(head: bytes, fields: Headers) -> bytes:
    """Cut the field lines named by lower-case name and value pairs."""
    for name, value in fields:
        head = replace_field(head, name, value, b"")
    return head
