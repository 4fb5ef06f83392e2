"""The shop that the demo's servers run: the same pages over two ways of keeping logins.

Each server holds both versions, the one that has its logins in a dictionary and the one with two lines
more that has them in the shared store; the header `Shop-Sessions`, which the balancer sets, says which
of them answers. A page takes `SERVICE_S` and a server makes one at a time, as if it were work: so each
server bears 33 pages a second, and more are waited for.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import OrderedDict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from limpet.demo.names import MEMORY_COOKIE, PAGE_PORT_VARIABLE, SERVICE_S, SESSIONS_FIELD
from limpet.sessions.asgi import SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from starlette.requests import Request

    from limpet.sessions.session import Session

#: The demo's people log in anew again and again, if nobody knows them.
_MAX_LOGINS = 50_000
_FILES = Path(__file__).with_name("shop_files")
_VISITOR = "You"


class Logins(Protocol):
    """Where it is kept who is logged in."""

    async def user(self, request: Request) -> str | None:
        """Return who is logged in."""
        ...

    async def log_in(self, request: Request, response: Response, name: str) -> None:
        """Log somebody in."""
        ...


class MemoryLogins:
    """A dictionary in this process: no other server can see it, and it dies with the process."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

    async def user(self, request: Request) -> str | None:
        """Return who is logged in."""
        return self._names.get(request.cookies.get(MEMORY_COOKIE, ""))

    async def log_in(self, request: Request, response: Response, name: str) -> None:
        """Log somebody in."""
        del request
        sid = secrets.token_urlsafe()
        self._names[sid] = name
        if len(self._names) > _MAX_LOGINS:
            self._names.popitem(last=False)
        response.set_cookie(MEMORY_COOKIE, sid, httponly=True, samesite="lax")


class StoreLogins:
    """Sessions in a store that every server reads."""

    async def user(self, request: Request) -> str | None:
        """Return who is logged in."""
        user: str | None = (await _loaded(request)).user_id
        return user

    async def log_in(self, request: Request, response: Response, name: str) -> None:
        """Log somebody in."""
        del response  # the middleware sets the cookie
        (await _loaded(request)).login(name)


def app() -> Callable[..., Awaitable[None]]:
    """Return the shop in both versions."""
    in_memory = _shop(MemoryLogins())
    in_store = SessionMiddleware(_shop(StoreLogins()))
    name = SESSIONS_FIELD.lower().encode()

    async def choose(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        is_shared = scope["type"] == "lifespan" or (name, b"store") in scope["headers"]
        await (in_store if is_shared else in_memory)(scope, receive, send)

    return choose


def _shop(logins: Logins) -> Starlette:
    shop = _Shop(logins)
    return Starlette(
        routes=[
            Route("/", shop.home),
            Route("/login", shop.login, methods=["POST"]),
            Route("/visit", shop.visit),
            Route("/health", shop.health),
            Route("/shop.css", _file("shop.css")),
            Route("/shop.js", _file("shop.js")),
        ]
    )


class _Shop:
    def __init__(self, logins: Logins) -> None:
        self._logins = logins
        self._counter = asyncio.Lock()  # one page at a time
        self._server = os.environ.get("LIMPET_REPLICA", "alone")
        self._page_port = os.environ.get(PAGE_PORT_VARIABLE, "")
        self._template = (_FILES / "shop.html").read_text()

    async def home(self, request: Request) -> Response:
        """Greet whoever is logged in."""
        user = await self._logins.user(request)
        async with self._counter:
            await asyncio.sleep(SERVICE_S)
        return self._say(HTMLResponse(self._page(request, user), headers=self._policy(request)), user)

    async def login(self, request: Request) -> Response:
        """Log in under any name."""
        try:
            form = parse_qs((await request.body()).decode())
        except ClientDisconnect:  # the act ended; nobody reads this
            return Response(status_code=400)
        return await self._enter(request, form.get("name", [_VISITOR])[0])

    async def visit(self, request: Request) -> Response:
        """Log in whoever follows the link from the demo's page."""
        return await self._enter(request, _VISITOR)

    async def health(self, request: Request) -> Response:
        """Answer the balancer."""
        del request
        return PlainTextResponse("well\n")

    async def _enter(self, request: Request, name: str) -> Response:
        response = RedirectResponse("/", 303)
        await self._logins.log_in(request, response, name)
        return self._say(response, name)

    def _say(self, response: Response, user: str | None) -> Response:
        # What the page says, for readers that are no people.
        response.headers["Shop-Server"] = self._server
        response.headers["Shop-Process"] = str(os.getpid())
        response.headers["Shop-User"] = quote(user or "")
        response.headers["Cache-Control"] = "no-store"
        return response

    def _page(self, request: Request, user: str | None) -> str:
        return self._template.format(
            greeting=f"Hello {escape(user)}" if user else "You are logged out",
            state="in" if user else "out",
            server=escape(self._server),
            process=os.getpid(),
            page=escape(self._page_url(request)),
        )

    def _page_url(self, request: Request) -> str:
        # Browsers have the same cookies for every port of a host, and this name is the one they used.
        return f"http://{_bracketed(request.url.hostname or '127.0.0.1')}:{self._page_port}"

    def _policy(self, request: Request) -> dict[str, str]:
        sources = "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:"
        limits = "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        return {"Content-Security-Policy": f"{sources}; connect-src {self._page_url(request)}; {limits}"}


async def _loaded(request: Request) -> Session:
    session = cast("Session", request.session)  # the middleware's
    await session.aload()
    return session


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        del request
        return FileResponse(_FILES / name, headers={"X-Content-Type-Options": "nosniff"})

    return send
