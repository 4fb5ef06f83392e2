"""The overlap matrix under Starlette and FastAPI, and from ASGI to WSGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import overlap
import pytest
from fastapi import Depends, FastAPI
from sites import AsgiSite
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request  # noqa: TC002  # FastAPI reads annotations
from starlette.responses import JSONResponse
from starlette.routing import Route

from limpet.sessions import Session, Sessions
from limpet.sessions.asgi import SessionMiddleware

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


def act(path: str, session: Session) -> None:
    """Do what a route of the overlap kit does."""
    if path.startswith("/login/"):
        session.login(path.removeprefix("/login/"))
    match path:
        case "/begin":
            session["mine"] = 0
        case "/logout":
            session.logout()
        case "/rotate":
            session.rotate()
        case "/write":
            session["theirs"] = 1
        case "/slow-write":
            session["mine"] = 2


def state(session: Session) -> dict[str, Any]:
    return {"user": session.user_id, "mine": session.get("mine"), "theirs": session.get("theirs")}


def starlette_app(sessions: Sessions, gate: overlap.Gate) -> Starlette:
    async def serve(request: Request) -> JSONResponse:
        session: Any = request.session
        if request.url.path.startswith("/slow"):
            session.get("mine")
            await gate.ahold()
        act(request.url.path, session)
        return JSONResponse(state(session))

    app = Starlette(routes=[Route("/{rest:path}", serve)])
    app.add_middleware(SessionMiddleware, sessions=sessions)
    return app


async def loaded(connection: HTTPConnection) -> Session:
    session: Session = connection.session  # type: ignore[assignment]
    await session.aload()
    return session


def fastapi_app(sessions: Sessions, gate: overlap.Gate) -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=sessions)

    @app.get("/slow-{what}")
    def slow(what: str, session: Annotated[Session, Depends(loaded)]) -> dict[str, Any]:
        session.get("mine")
        gate.hold()
        act(f"/slow-{what}", session)
        return state(session)

    @app.get("/{rest:path}")
    async def serve(rest: str, session: Annotated[Session, Depends(loaded)]) -> dict[str, Any]:
        act(f"/{rest}", session)
        return state(session)

    return app


@pytest.mark.parametrize("make_app", [starlette_app, fastapi_app])
@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case, make_app: Any) -> None:
    sessions = Sessions(store, secret=SECRET, deadline_s=10)
    gate = overlap.Gate()
    with AsgiSite(make_app(sessions, gate)) as site:
        overlap.check(site, gate, case, revoke=sessions.revoke_user)
    sessions.close()
