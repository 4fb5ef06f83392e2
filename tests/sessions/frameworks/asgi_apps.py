"""One-request ASGI apps around a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sites import AsgiSite, Browser
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  # FastAPI reads annotations
from starlette.responses import JSONResponse
from starlette.routing import Route

from limpet.sessions.asgi import SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions import Sessions


SECRET = "a secret for tests that is long enough"


def site_of(act: Callable[[Any], Any], sessions: Sessions, **headers: str) -> AsgiSite:
    """Return a Starlette app that answers with what an act on its session returns."""

    async def serve(request: Request) -> JSONResponse:
        result = act(request.session)
        return JSONResponse(await result if asyncio.iscoroutine(result) else result, headers=headers)

    app = Starlette(routes=[Route("/", serve, methods=["GET", "POST"])])
    app.add_middleware(SessionMiddleware, sessions=sessions)
    return AsgiSite(app)


def ask(act: Callable[[Any], Any], sessions: Sessions, cookies: dict[str, str] | None = None) -> Any:
    """Serve one request and return its answer; the cookies are updated in place."""
    with site_of(act, sessions) as site:
        return Browser(site, {} if cookies is None else cookies).get("/")


def logged_in(sessions: Sessions, **fields: Any) -> dict[str, str]:
    cookies: dict[str, str] = {}
    ask(lambda session: session.login("ann") or session.update(fields), sessions, cookies)
    assert list(cookies) == ["__Host-limpet_session"]
    return cookies
