"""Who may call the admin API: whoever may be on this machine, or has the token; no page but limpet's own.

A page in the operator's browser can send requests to 127.0.0.1. What it cannot do is forge these
(Fetch standard):

- Host: a page that rebinds its own name to 127.0.0.1 sends its own name;
- Origin and Sec-Fetch-Site: browsers add them to requests across sites, and limpet's own page is the
  only one whose Origin is the Host that it asks;
- `Content-Type: application/json` on calls that change something: across sites, browsers ask
  for permission first (CORS preflight), and no answer here ever grants it.

With a token every call needs it, from wherever it comes; without one the API listens on
loopback or on a Unix socket only. The files of the page are free: they hold nothing but the page, which
asks for the token and sends it as every other caller does. It is no cookie, because cookies know no
ports: a browser would send one to the apps of the same host, too.
Source: RFC 6750 section 2.1 for the header; RFC 6265 section 8.5 for cookies and ports.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from starlette.types import ASGIApp, Receive, Scope, Send

    from limpet.config.schema import AdminSettings
    from limpet.core.address import Address

TOKEN_VARIABLE = "LIMPET_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
_MIN_TOKEN_CHARACTERS = 16
_CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


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
        is_read_only: nothing may be changed, by nobody.
        pages: paths of the page's files.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: Address,
        token: bytes | None,
        *,
        is_read_only: bool = False,
        pages: AbstractSet[str] = frozenset(),
    ) -> None:
        self._app = app
        self._token = token
        self._is_read_only = is_read_only
        self._pages = pages
        self._hosts = _LOOPBACK | {_without_port(str(bound))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 401, 403 or 415."""
        if scope["type"] != "http":
            return
        refusal = self.refusal(scope["method"], scope["path"], dict(scope["headers"]))
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refusal
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            await JSONResponse({"error": detail}, status, headers)(scope, receive, send)

    def refusal(self, method: str, path: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Return why a call is refused, or None."""
        host = headers.get(b"host", b"").decode("latin-1")
        is_page = method in {"GET", "HEAD"} and path in self._pages
        if not (is_page and _is_link(headers)) and _is_foreign(headers, host):
            return 403, "pages of other sites may not call this"
        if self._token is None:
            # Any port will do: that of a tunnel is another than ours.
            if _without_port(host) not in self._hosts:
                return 403, "the Host header names another host"
        elif not is_page:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                return (
                    401,
                    f"send Authorization: Bearer TOKEN; commands read it from {TOKEN_VARIABLE}",
                )
        if method in _CHANGING and self._is_read_only:
            return 403, "admin.read_only is set: nothing is changed from here"
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if method in _CHANGING and content_type != b"application/json":
            return 415, "send Content-Type: application/json"
        return None


def _is_foreign(headers: dict[bytes, bytes], host: str) -> bool:
    # Whether another site's page makes the browser ask. A proxy with TLS in front has another scheme.
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1") not in {f"http://{host}", f"https://{host}"}:
        return True
    return headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}


def _is_link(headers: dict[bytes, bytes]) -> bool:
    # Another site's page may lead here, as anybody may type the address; it cannot show ours in itself.
    return headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
