"""The page's files and its API: what is, what can be done, and a browser's own cookies."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from limpet.demo.modes import MODES
from limpet.demo.names import MEMORY_COOKIE
from limpet.demo.stage import NotNowError
from limpet.demo.story import STEPS
from limpet.demo.view import EVENTS, fixed
from limpet.replicas.replica import ReplicaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from limpet.demo.guide import Guide
    from limpet.demo.page.feed import Feed
    from limpet.demo.stage import Stage

_FOLDER = Path(__file__).parent
_FILES = {"/": "demo.html", "/demo.css": "demo.css", "/demo.js": "demo.js", "/stage.js": "stage.js"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: As much of a cookie's value as is shown.
_SHOWN = 10
_OWNERS = {
    MEMORY_COOKIE: "the shop's: your login, in one server's memory",
    "limpet": "limpet's: your server, sealed",
    "limpet-app": "limpet's: your server, sealed; follows the shop's cookie",
    "limpet_session": "the shop's, by limpet.sessions: your session in the store",
}
_STRANGER = "another program's at this address"


def application(stage: Stage, guide: Guide, feed: Feed) -> Starlette:
    """Return the application."""
    api = _Api(stage, guide, feed)
    return Starlette(
        routes=[
            *(Route(path, _file(name)) for path, name in _FILES.items()),
            Route("/api/fixed", api.fixed),
            Route("/api/state", api.state),
            Route("/api/events", api.events),
            Route("/api/cookies", api.cookies),
            Route("/api/mode/{name}", api.mode, methods=["POST"]),
            Route("/api/event/{name}", api.event, methods=["POST"]),
            Route("/api/step/{index:int}", api.step, methods=["POST"]),
            Route("/api/pause", api.pause, methods=["POST"]),
        ],
        exception_handlers={NotNowError: _refuse, ReplicaError: _refuse},
    )


class _Api:
    def __init__(self, stage: Stage, guide: Guide, feed: Feed) -> None:
        self._stage = stage
        self._guide = guide
        self._feed = feed

    async def fixed(self, request: Request) -> Response:
        """Tell what never changes."""
        del request
        return _json(fixed(self._stage))

    async def state(self, request: Request) -> Response:
        """Tell how things are."""
        del request
        return _json(self._feed.state())

    async def events(self, request: Request) -> Response:
        """Tell how things are, on and on."""
        del request
        return StreamingResponse(self._feed.watch(), headers=_HEADERS, media_type="text/event-stream")

    async def mode(self, request: Request) -> Response:
        """Begin an act."""
        name = request.path_params["name"]
        if refusal := _foreign(request) or _unknown(name, MODES):
            return refusal
        self._guide.follow(name)
        await self._stage.begin(name)
        return self._done()

    async def event(self, request: Request) -> Response:
        """Let something happen."""
        name = request.path_params["name"]
        if refusal := _foreign(request) or _unknown(name, EVENTS):
            return refusal
        self._guide.stop()
        await getattr(self._stage, name)()
        return self._done()

    async def step(self, request: Request) -> Response:
        """Go to a step of the guide."""
        index = request.path_params["index"]
        if refusal := _foreign(request) or _unknown(index, range(len(STEPS))):
            return refusal
        await self._guide.go(index)
        return self._done()

    async def pause(self, request: Request) -> Response:
        """Let the crowd rest, or go on."""
        if refusal := _foreign(request):
            return refusal
        await self._stage.pause()
        return self._done()

    async def cookies(self, request: Request) -> Response:
        """Tell a browser which cookies it holds, for the shop's page at another port of this host."""
        origin = request.headers.get("origin")
        allowed = {}
        if origin is not None and not _is_own(request):
            shop = urlsplit(origin)
            if shop.hostname != request.url.hostname or shop.port != self._stage.shop_port:
                return _json({"error": "this is for the demo's own pages"}, 403)
            allowed = {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        shown = [
            {"name": name, "bytes": len(value), "value": _short(value), "whose": _OWNERS.get(name, _STRANGER)}
            for name, value in request.cookies.items()
        ]
        return _json({"cookies": shown}, 200, allowed)

    def _done(self) -> Response:
        self._feed.tell()
        return _json(self._feed.state())


def _short(value: str) -> str:
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"


def _json(value: object, status: int = 200, more: dict[str, str] | None = None) -> Response:
    return JSONResponse(value, status, {**_HEADERS, "Vary": "Origin", **(more or {})})


def _unknown(name: object, known: object) -> Response | None:
    if name in known:  # type: ignore[operator]  # a mapping, a tuple or a range
        return None
    return _json({"error": f"there is no {name!r}"}, 404)


def _foreign(request: Request) -> Response | None:
    # Other sites' pages must not play with the demo, nor one that was made to have its address.
    if _is_own(request) and _is_plain(request.url.hostname or ""):
        return None
    return _json({"error": "this is for the demo's own page"}, 403)


def _is_own(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or origin == f"{request.url.scheme}://{request.headers.get('host')}"


def _is_plain(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    return _json({"error": str(error)}, 409)


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        del request
        return FileResponse(_FOLDER / name, headers=_HEADERS)

    return send
