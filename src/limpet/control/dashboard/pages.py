"""The files of the page. They hold no secret: whoever may not call the API sees an empty page.

The page asks nobody but its own origin, and runs no script but its own files (CSP, trusted types).
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: Source: CSP level 3; https://owasp.org/www-project-secure-headers/.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
_FOLDER = "/dashboard"


def _read() -> dict[str, tuple[bytes, str]]:
    # By path, with their types.
    found: dict[str, tuple[bytes, str]] = {}
    for each in files(__package__).joinpath("static").iterdir():
        suffix = each.name.rpartition(".")[2]
        if suffix in _TYPES:
            found[f"{_FOLDER}/{each.name}"] = each.read_bytes(), _TYPES[suffix]
    page = found.pop(f"{_FOLDER}/index.html")
    return {"/": page, _FOLDER: page, **found}


_FILES = _read()
#: Every path that `ROUTES` serves.
PATHS = frozenset(_FILES)


async def _send(request: Request) -> Response:
    data, content_type = _FILES[request.url.path]
    return Response(data, headers={**HEADERS, "Content-Type": content_type})


ROUTES = [Route(path, _send, methods=["GET"]) for path in sorted(PATHS)]
