"""Sessions under Litestar: its own server-side sessions over its Redis store, and limpet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Litestar, MediaType, Request, get
from litestar.middleware import DefineMiddleware
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore

from limpet.sessions import Sessions
from limpet.sessions.asgi import SessionMiddleware
from session_lab import views
from session_lab.site import AsgiSite, Site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_USER = "user"


class NoSessions:
    """Gives a request a mapping that costs nothing."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        scope["session"] = {_USER: "1", **views.FIELDS}
        await self._app(scope, receive, send)


async def _nothing(_request: Any) -> None:
    pass


async def _login(request: Any) -> None:
    request.session.login(request.query_params["user"])


async def _load(request: Any) -> None:
    await request.session.aload()


async def _load_and_login(request: Any) -> None:
    await request.session.aload()
    request.session.login(request.query_params["user"])


def sites(port: int) -> dict[str, Site]:
    """Return the sites by the name of who keeps their sessions."""
    url = f"redis://127.0.0.1:{port}/0"
    blocking, loaded = Sessions(url, secret=views.SECRET), Sessions(url, secret=views.SECRET)
    store = RedisStore.with_client(url)
    theirs = ServerSideSessionConfig(secure=True).middleware
    return {
        views.BASELINE: AsgiSite(_app(NoSessions, _nothing, _nothing)),
        "limpet": AsgiSite(
            _app(DefineMiddleware(SessionMiddleware, sessions=blocking), _nothing, _login), blocking.aclose
        ),
        "limpet, aload": AsgiSite(
            _app(DefineMiddleware(SessionMiddleware, sessions=loaded), _load, _load_and_login), loaded.aclose
        ),
        # It has no way to change an id at a login.
        "Litestar": AsgiSite(
            _app(theirs, _nothing, _nothing, stores={"sessions": store}),
            store._redis.aclose,  # noqa: SLF001
        ),
    }


def _app(
    middleware: Any,
    load: Callable[[Any], Awaitable[None]],
    login: Callable[[Any], Awaitable[None]],
    **options: Any,
) -> Litestar:
    @get("/home", media_type=MediaType.TEXT)
    async def home(request: Request[Any, Any, Any]) -> str:
        await load(request)
        return views.home(request.session, _USER)

    @get("/untouched", media_type=MediaType.TEXT)
    async def untouched() -> str:
        return "untouched"

    @get("/read", media_type=MediaType.TEXT)
    async def read(request: Request[Any, Any, Any]) -> str:
        await load(request)
        return views.read(request.session, _USER)

    @get("/write", media_type=MediaType.TEXT)
    async def write(request: Request[Any, Any, Any]) -> str:
        await load(request)
        return views.write(request.session)

    @get("/visit", media_type=MediaType.TEXT)
    async def visit(request: Request[Any, Any, Any]) -> str:
        await load(request)
        return views.visit(request.session)

    @get("/login", media_type=MediaType.TEXT)
    async def log_in(request: Request[Any, Any, Any]) -> str:
        await login(request)
        request.session.update({_USER: request.query_params["user"], **views.FIELDS})
        return "logged in"

    return Litestar([home, untouched, read, write, visit, log_in], middleware=[middleware], **options)
