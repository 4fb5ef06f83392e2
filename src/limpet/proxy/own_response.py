"""A whole response that a rule gives instead of a target."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.rules.field_edits import FieldEdits
    from limpet.core.rules.verdict import Reply
    from limpet.proxy.http1.request import Request
    from limpet.proxy.server import Proxy

_TITLES = {status.value: status.phrase for status in HTTPStatus}


def own_response(
    reply: Reply,
    edits: FieldEdits | None,
    request: Request,
    request_id: bytes,
    proxy: Proxy,
    *,
    is_closing: bool,
) -> bytes:
    """Return a whole response.

    Args:
        edits: of the rule.
        is_closing: the connection is closed after it.
    """
    head = [
        b"HTTP/1.1 %d %b" % (reply.status, _TITLES.get(reply.status, "").encode()),
        *[b"%b: %b" % field for field in reply.fields],
    ]
    text = b"\r\n".join(head) + b"\r\n"
    if edits is not None:
        text = edits.edit_head(text)
    own = [b"Date: " + proxy.http_date(), b"X-Request-Id: " + request_id]
    if reply.status != HTTPStatus.NO_CONTENT:
        own.append(b"Content-Length: %d" % len(reply.body))
    if is_closing:
        own.append(b"Connection: close")
    elif request.fields.minor_version == 0:
        own.append(b"Connection: keep-alive")
    return text + b"\r\n".join(own) + b"\r\n\r\n" + (b"" if request.method == b"HEAD" else reply.body)
