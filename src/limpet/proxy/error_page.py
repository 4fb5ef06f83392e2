"""What a client sees when limpet itself ends a request: short HTML, or JSON where it is asked for."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from limpet.errors import ErrorKind

if TYPE_CHECKING:
    from limpet.proxy.http1.request import Request
    from limpet.proxy.server import Proxy

#: Seconds after which a client may try again. Source: RFC 9110 section 10.2.3.
_RETRY_AFTER_S = {
    ErrorKind.NO_TARGET: 5,
    ErrorKind.STICKY_TARGET_UNAVAILABLE: 5,
    ErrorKind.QUEUE_FULL: 1,
    ErrorKind.QUEUE_TIMEOUT: 1,
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{status} {title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem}}</style>
</head>
<body>
<h1>{status} {title}</h1>
<p>{hint}</p>
<p><small>Request id: <code>{request_id}</code></small></p>
</body>
</html>
"""
_HINTS = {
    400: "The request could not be understood.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    429: "There were too many requests from your address. Please try again in a few seconds.",
    502: "The server behind this address gave no valid answer. Please try again.",
    503: "No server can take the request at the moment. Please try again in a few seconds.",
    504: "The server behind this address did not answer in time. Please try again.",
}


def error_response(
    kind: ErrorKind, detail: str, request: Request, request_id: bytes, proxy: Proxy, *, is_closing: bool
) -> bytes:
    """Return a whole response for a failed request.

    Args:
        detail: told to the client only where the client is at fault.
        is_closing: the connection is closed after it.
    """
    status = kind.status
    content_type, body = _body(kind, detail, request, request_id, proxy)
    head = [
        b"HTTP/1.1 %d %b" % (status, kind.title.encode()),
        b"Date: " + proxy.http_date(),
        b"Content-Type: " + content_type,
        b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store",
        b"X-Request-Id: " + request_id,
    ]
    is_too_fast = kind is ErrorKind.RATE_LIMITED
    retry_after_s = proxy.per_client.retry_after_s if is_too_fast else _RETRY_AFTER_S.get(kind)
    if retry_after_s:
        head.append(b"Retry-After: %d" % retry_after_s)
    if is_closing:
        head.append(b"Connection: close")
    elif request.fields.minor_version == 0:
        head.append(b"Connection: keep-alive")
    return b"\r\n".join(head) + b"\r\n\r\n" + (b"" if request.method == b"HEAD" else body)


def _body(
    kind: ErrorKind, detail: str, request: Request, request_id: bytes, proxy: Proxy
) -> tuple[bytes, bytes]:
    own = proxy.snapshot.forwarding.error_pages.get(kind.status)
    if own is not None:
        return b"text/html; charset=utf-8", own
    hint = detail if kind.status < 500 else _HINTS.get(kind.status, "Something went wrong.")
    accept = request.header(b"accept") or b""
    if b"json" in accept and b"text/html" not in accept:
        facts = {"status": kind.status, "error": kind.label, "detail": hint}
        return b"application/json", json.dumps(facts | {"request_id": request_id.decode()}).encode() + b"\n"
    page = _PAGE.format(
        status=kind.status,
        title=html.escape(kind.title),
        hint=html.escape(_HINTS.get(kind.status, hint)),
        request_id=html.escape(request_id.decode()),
    )
    return b"text/html; charset=utf-8", page.encode()
