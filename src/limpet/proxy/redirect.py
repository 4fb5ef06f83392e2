"""What a plain listener answers whose clients should use https.

The one thing that it serves itself are answers to ACME challenges, because a certificate
authority asks for them by plain HTTP before there is a certificate. Source: RFC 8555 section 8.3.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from limpet.core.rules.actions.redirect import Redirect
from limpet.core.rules.verdict import Reply

if TYPE_CHECKING:
    from limpet.core.tls import HttpsRedirect
    from limpet.proxy.http1.request import Request

_CHALLENGE = re.compile(rb"/(\.well-known/acme-challenge)/([A-Za-z0-9_-]{1,255})")
_CHALLENGES = b"/.well-known/acme-challenge/"
_MAX_CHALLENGE_BYTES = 4096
_PLAIN_TEXT = ((b"Content-Type", b"text/plain"),)


def redirected(redirect: HttpsRedirect, request: Request) -> Reply:
    """Return the answer to a request on a listener that redirects.

    308, because the method and the body have to stay. Source: RFC 9110 section 15.4.9.
    """
    if redirect.acme_webroot and request.path.startswith(_CHALLENGES):
        body = _challenge(redirect.acme_webroot, request.path)
        if body is None:
            return Reply(status=404, fields=_PLAIN_TEXT, body=b"There is no such challenge.\n")
        return Reply(status=200, fields=_PLAIN_TEXT, body=body)
    location = Redirect(protocol="https", port=str(redirect.port)).location(request)
    if location is None:  # HTTP/1.0 without Host: nobody knows where to
        return Reply(status=400, fields=_PLAIN_TEXT, body=b"Use https.\n")
    return Reply(status=308, fields=((b"Location", location.encode("latin-1")),))


def _challenge(webroot: str, path: bytes) -> bytes | None:
    # A token is letters, digits, - and _ only, so it cannot lead out of its folder.
    match = _CHALLENGE.fullmatch(path)
    if match is None:
        return None
    folder, token = match.groups()
    try:
        with (Path(webroot) / folder.decode() / token.decode()).open("rb") as file:
            return file.read(_MAX_CHALLENGE_BYTES)
    except OSError:
        return None
