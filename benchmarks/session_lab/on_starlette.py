"""Sessions under Starlette: starsessions, loaded by the views that need them, and limpet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import SessionMiddleware as StarsessionsMiddleware
from starsessions import load_session, regenerate_session_id
from starsessions.stores.redis import RedisStore

from limpet.sessions import Sessions
from limpet.sessions.asgi import SessionMiddleware
from session_lab import views
from session_lab.site import AsgiSite, Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    Hook = Callable[[Request], Awaitable[Any]]

_USER = "user"
_LIFETIME_S = 14 * 86400


class NoSessions:
    """Gives a request a mapping that costs nothing."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        scope["session"] = {_USER: "1", **views.FIELDS}
        await self._app(scope, receive, send)


async def _nothing(_request: Request) -> None:
    pass


async def _login(request: Request) -> None:
    request.session.login(request.query_params["user"])


async def _load(request: Request) -> None:
    await request.session.aload()


async def _load_and_login(request: Request) -> None:
    await request.session.aload()
    request.session.login(request.query_params["user"])


async def _starsessions_login(request: Request) -> None:
    await load_session(request)
    regenerate_session_id(request)


def sites(port: int) -> dict[str, Site]:
    """Return the sites by the name of who keeps their sessions."""
    url = f"redis://127.0.0.1:{port}/0"
    blocking, loaded = Sessions(url, secret=views.SECRET), Sessions(url, secret=views.SECRET)
    near = Sessions(url, secret=views.SECRET, near_cache=True)
    client = Redis(port=port)
    theirs = Middleware(StarsessionsMiddleware, store=RedisStore(connection=client), lifetime=_LIFETIME_S)
    return {
        views.BASELINE: AsgiSite(_app(Middleware(NoSessions), _nothing, _nothing)),
        "limpet": AsgiSite(
            _app(Middleware(SessionMiddleware, sessions=blocking), _nothing, _login), blocking.aclose
        ),
        "limpet, aload": AsgiSite(
            _app(Middleware(SessionMiddleware, sessions=loaded), _load, _load_and_login), loaded.aclose
        ),
        "limpet, near-cache": AsgiSite(
            _app(Middleware(SessionMiddleware, sessions=near), _nothing, _login), near.aclose
        ),
        "starsessions": AsgiSite(_app(theirs, load_session, _starsessions_login), client.aclose),
    }


def _app(middleware: Middleware, load: Hook, login: Hook) -> Starlette:
    async def home(request: Request) -> PlainTextResponse:
        await load(request)
        return PlainTextResponse(views.home(request.session, _USER))

    async def untouched(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("untouched")

    async def read(request: Request) -> PlainTextResponse:
        await load(request)
        return PlainTextResponse(views.read(request.session, _USER))

    async def write(request: Request) -> PlainTextResponse:
        await load(request)
        return PlainTextResponse(views.write(request.session))

    async def visit(request: Request) -> PlainTextResponse:
        await load(request)
        return PlainTextResponse(views.visit(request.session))

    async def log_in(request: Request) -> PlainTextResponse:
        await login(request)
        request.session.update({_USER: request.query_params["user"], **views.FIELDS})
        return PlainTextResponse("logged in")

    paths = {"home": home, "untouched": untouched, "read": read, "write": write, "visit": visit}
    routes = [Route(f"/{name}", view) for name, view in paths.items()]
    return Starlette(routes=[*routes, Route("/login", log_in)], middleware=[middleware])
