"""Who may call the admin API: whoever may be on this machine, or has the token; never a web page.

A page in the operator's browser can send requests to 127.0.0.1. What it cannot do is forge these
(Fetch standard):

- Host: a page that rebinds its own name to 127.0.0.1 sends its own name;
- Origin and Sec-Fetch-Site: browsers add them to requests across sites;
- `Content-Type: application/json` on calls that change something: across sites, browsers ask
  for permission first (CORS preflight), and no answer here ever grants it.

With a token every call needs it, from wherever it comes; without one the API listens on
loopback or on a Unix socket only. Source: RFC 6750 section 2.1 for the header.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from limpet.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from limpet.config.schema import AdminSettings
    from limpet.core.address import Address

TOKEN_VARIABLE = "LIMPET_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
_MIN_TOKEN_CHARACTERS = 16
_CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})


def read_token(settings: AdminSettings) -> bytes | None:
    """Return the token of the environment or the file; None if there is none.

    Raises:
        ConfigError: it cannot be read, or is too short to be one.
    """
    where, text = f"environment variable {TOKEN_VARIABLE}", os.environ.get(TOKEN_VARIABLE)
    if text is None:
        if settings.token_file is None:
            return None
        where = f"admin.token_file: {str(settings.token_file)!r}"
        try:
            text = settings.token_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError([f"{where} cannot be read ({error}); correct it"]) from None
    token = text.strip()
    if len(token) < _MIN_TOKEN_CHARACTERS or not token.isascii() or " " in token:
        problem = f"{where} holds no token of {_MIN_TOKEN_CHARACTERS} characters"
        raise ConfigError([f"{problem}; make one with: openssl rand -hex 32"])
    return token.encode()


class Guard:
    """Refuses who may not call; see the module.

    Args:
        bound: where the API listens.
        token: that calls must bring; None for none.
    """

    def __init__(self, app: ASGIApp, bound: Address, token: bytes | None) -> None:
        self._app = app
        self._token = token
        port = bound.port
        self._hosts = {str(bound), "localhost"}
        self._hosts |= {f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 401, 403 or 415."""
        if scope["type"] != "http":
            return
        refusal = self.refusal(scope["method"], dict(scope["headers"]))
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refusal
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            await JSONResponse({"error": detail}, status, headers)(scope, receive, send)

    def refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Return why a call is refused, or None."""
        if b"origin" in headers:
            return 403, "web pages may not call this"
        if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
            return 403, "web pages may not call this"
        if self._token is not None:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                return (
                    401,
                    f"send Authorization: Bearer TOKEN; commands read it from {TOKEN_VARIABLE}",
                )
        elif headers.get(b"host", b"").decode("latin-1") not in self._hosts:
            return 403, "the Host header names another host"
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if method in _CHANGING and content_type != b"application/json":
            return 415, "send Content-Type: application/json"
        return None
