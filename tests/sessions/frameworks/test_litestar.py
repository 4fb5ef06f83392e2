"""Sessions under Litestar, which makes a middleware for each route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import overlap
import pytest
from litestar import Litestar, Request, Response, get, post
from litestar.middleware import DefineMiddleware
from sites import AsgiSite, Browser

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.asgi import SessionMiddleware
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


def state(session: Any) -> dict[str, Any]:
    return {"user": session.user_id, "mine": session.get("mine"), "theirs": session.get("theirs")}


def make_app(sessions: Sessions, gate: overlap.Gate) -> Litestar:
    @get("/begin")
    async def begin(request: Request[Any, Any, Any]) -> None:
        request.session["mine"] = 0

    @get("/login/{user:str}")
    async def login(request: Request[Any, Any, Any]) -> None:
        request.session.login(request.path_params["user"])

    @get("/logout")
    async def logout(request: Request[Any, Any, Any]) -> None:
        request.clear_session()

    @get("/rotate")
    async def rotate(request: Request[Any, Any, Any]) -> None:
        request.session.rotate()

    @get("/write")
    async def write(request: Request[Any, Any, Any]) -> None:
        request.session["theirs"] = 1

    @get("/slow-read")
    async def slow_read(request: Request[Any, Any, Any]) -> None:
        request.session.get("mine")
        await gate.ahold()

    @get("/slow-write")
    async def slow_write(request: Request[Any, Any, Any]) -> None:
        request.session.get("mine")
        await gate.ahold()
        request.session["mine"] = 2

    @get("/state")
    async def get_state(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return state(request.session)

    return Litestar(
        [begin, login, logout, rotate, write, slow_read, slow_write, get_state],
        middleware=[DefineMiddleware(SessionMiddleware, sessions=sessions)],
    )


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case) -> None:
    sessions = Sessions(store, secret=SECRET, deadline_s=10)
    gate = overlap.Gate()
    with AsgiSite(make_app(sessions, gate), sessions.aclose) as site:
        overlap.check(site, gate, case, revoke=sessions.revoke_user)


@get("/set")
async def set_session(request: Request[Any, Any, Any]) -> None:
    request.set_session({"a": 1, "b": 2})


@get("/replace")
async def replace_session(request: Request[Any, Any, Any]) -> None:
    request.set_session({"b": 3})


@get("/clear")
async def clear_session(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@post("/login", status_code=200)
async def log_in(request: Request[Any, Any, Any]) -> None:
    request.session.login("ann")


@get("/fields")
async def fields(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


ROUTES = [set_session, replace_session, clear_session, log_in, fields]


def test_what_litestar_puts_in_the_sessions_place_counts() -> None:
    sessions = Sessions(MemoryStore(), secret=SECRET)
    app = Litestar(ROUTES, middleware=[DefineMiddleware(SessionMiddleware, sessions=sessions)])
    with AsgiSite(app, sessions.aclose) as site:
        browser = Browser(site)
        browser.get("/set")
        assert browser.get("/fields").json() == {"a": 1, "b": 2}
        browser.get("/replace")
        assert browser.get("/fields").json() == {"b": 3}
        browser.request("POST", "/login")
        assert browser.get("/fields").json() == {"b": 3}
        copy = browser.twin()
        browser.get("/clear")
        assert not browser.cookies
        assert copy.get("/fields").json() == {}
        assert sessions.list_user("ann") == []


def test_around_the_whole_app_options_are_enough() -> None:
    app = SessionMiddleware(Litestar(ROUTES), store="memory://", secret=SECRET)
    with AsgiSite(app) as site:
        browser = Browser(site)
        browser.get("/set")
        assert browser.get("/fields").json() == {"a": 1, "b": 2}


class Down(MemoryStore):
    def run(self, operation: Any) -> Any:
        raise ConnectionRefusedError


def test_litestars_500_for_a_silent_store_is_503() -> None:
    sessions = Sessions(MemoryStore(), secret=SECRET)
    app = Litestar(ROUTES, middleware=[DefineMiddleware(SessionMiddleware, sessions=sessions)])
    with AsgiSite(app, sessions.aclose) as site:
        browser = Browser(site)
        browser.get("/set")
        cookies = dict(browser.cookies)
        sessions.store._store = Down()
        for target in ("/fields", "/replace", "/set"):
            answer = browser.get(target)
            assert (answer.status, answer.values("retry-after")) == (503, ["1"])
            assert browser.cookies == cookies
        # Nobody knows the session of a visitor without a cookie to be silent: the save finds out.
        answer = Browser(site).get("/set")
        assert (answer.status, answer.values("set-cookie")) == (503, [])


def test_litestars_own_answer_to_a_silent_store_is_left() -> None:
    def explain(_request: Any, error: StoreUnavailableError) -> Response[Any]:
        return Response({"sorry": True}, status_code=503, headers={"retry-after": "7"})

    sessions = Sessions(Down(), secret=SECRET)
    app = Litestar(
        ROUTES,
        middleware=[DefineMiddleware(SessionMiddleware, sessions=sessions)],
        exception_handlers={StoreUnavailableError: explain},
    )
    with AsgiSite(app, sessions.aclose) as site:
        value = sessions.ring.sign(
            sessions.ring.new_id(
                user_key="", issued_s=sessions.now_s(), ends_s=sessions.now_s() + 99, entropy=bytes
            )
        )
        answer = Browser(site, {sessions.cookie.full_name: value}).get("/fields")
        assert (answer.status, answer.json(), answer.values("retry-after")) == (503, {"sorry": True}, ["7"])
        assert answer.values("vary") == ["Cookie"]
        assert answer.values("cache-control") == ["no-store"]
