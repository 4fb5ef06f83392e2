"""The ASGI middleware at the end of responses, of apps and of WebSockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asgi_apps import SECRET, ask, logged_in, site_of
from sites import ADDRESS, AsgiSite, Browser
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request  # noqa: TC002  # FastAPI reads annotations
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from watched_store import WatchedStore

from limpet.sessions import Session, Sessions, TooLateError
from limpet.sessions.asgi import SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
def memory() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def sessions(memory: WatchedStore) -> Sessions:
    return Sessions(memory, secret=SECRET)


def test_an_app_that_raises_saves_nothing(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)

    def act(session: Session) -> None:
        session["a"] = 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(act, sessions, cookies)
    assert ask(dict, sessions, cookies).json() == {"a": 1}


def test_an_error_that_the_app_answers_saves_what_was_done(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)

    async def serve(request: Request) -> PlainTextResponse:
        request.session["a"] = 2
        return PlainTextResponse("no", status_code=500)

    with AsgiSite(SessionMiddleware(Starlette(routes=[Route("/", serve)]), sessions)) as site:
        assert Browser(site, cookies).get("/").status == 500
    assert ask(dict, sessions, cookies).json() == {"a": 2}


def test_late_changes_are_refused_or_told(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    cookies = logged_in(sessions, cart=[1])

    async def serve(request: Request) -> StreamingResponse:
        session: Any = request.session
        cart = session["cart"]

        async def stream() -> AsyncIterator[bytes]:
            for change in (lambda: session.update(late=1), session.logout, session.rotate, session.clear):
                with pytest.raises(TooLateError):
                    change()
            assert session["cart"] == [1]
            cart.append(2)
            yield b"x"

        return StreamingResponse(stream())

    with AsgiSite(SessionMiddleware(Starlette(routes=[Route("/", serve)]), sessions)) as site:
        assert Browser(site, cookies).get("/").body == b"x"
    assert "are not saved: 'cart'" in caplog.text
    assert ask(dict, sessions, cookies).json() == {"cart": [1]}


def test_a_first_look_that_comes_late_is_refused(sessions: Sessions) -> None:
    # Nothing would say that the response depends on the session, and the visit would not count.
    seen: list[str] = []

    async def serve(request: Request) -> PlainTextResponse:
        def late() -> None:
            with pytest.raises(TooLateError):
                request.session.get("a")
            seen.append("refused")

        return PlainTextResponse("ok", background=BackgroundTask(late))

    with AsgiSite(SessionMiddleware(Starlette(routes=[Route("/", serve)]), sessions)) as site:
        Browser(site).get("/")
    assert seen == ["refused"]


def test_a_middleware_outside_may_look_when_all_is_over(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)
    inner = SessionMiddleware(Starlette(routes=[Route("/", lambda _: PlainTextResponse("ok"))]), sessions)
    seen: list[Any] = []

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)
        if scope["type"] == "http":
            seen.append(scope["session"]["a"])

    with AsgiSite(outer) as site:
        Browser(site, cookies).get("/")
    assert seen == [1]


# Start and end.


def test_findings_are_told_at_the_start_or_at_the_first_request(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    with site_of(len, sessions):
        sessions.close()
        assert caplog.text.count("S101") == 1
    caplog.clear()

    async def bare(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    without = Sessions(WatchedStore(), secret=SECRET)

    async def requests_only(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await SessionMiddleware(bare, without)(scope, receive, send)

    with AsgiSite(requests_only, without.aclose) as site:
        assert [Browser(site).get("/").status for _ in range(3)] == [204] * 3
        without.close()
    assert caplog.text.count("S101") == 1


class Unchecked(WatchedStore):
    def check(self) -> Any:
        raise OSError("no route")


def test_a_check_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert ask(len, Sessions(Unchecked(), secret=SECRET)).status == 200
    assert "it could not be checked: no route" in caplog.text


def test_other_scopes_pass(sessions: Sessions) -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])
        assert "session" not in scope

    asyncio.run(SessionMiddleware(app, sessions)({"type": "gopher"}, None, None))  # type: ignore[arg-type]
    assert seen == ["gopher"]


def test_of_two_middlewares_the_outer_one_counts(sessions: Sessions) -> None:
    async def serve(request: Request) -> JSONResponse:
        return JSONResponse(request.session.incr("n"))  # type: ignore[attr-defined]

    inner = SessionMiddleware(Starlette(routes=[Route("/", serve)]), Sessions(WatchedStore(), secret=SECRET))
    with AsgiSite(SessionMiddleware(inner, sessions)) as site:
        browser = Browser(site)
        assert len(browser.get("/").values("set-cookie")) == 1
        assert browser.get("/").json() == 2


# WebSockets.


def talk(
    sessions: Sessions,
    act: Callable[[Any, Any], Awaitable[Any]],
    cookies: dict[str, str],
    extensions: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Run an act on a WebSocket and its session, and return what it sent."""
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        await act(scope["session"], send)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    scope = {"type": "websocket", "headers": [(b"cookie", header.encode())], "client": (ADDRESS, 1)}
    if extensions is not None:
        scope["extensions"] = extensions
    asyncio.run(SessionMiddleware(app, sessions)(scope, receive, send))
    return sent


def test_a_websocket_saves_and_sets_its_cookie_when_it_accepts(sessions: Sessions) -> None:
    async def act(session: Any, send: Any) -> None:
        session["a"] = 1
        await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})
        assert session["a"] == 1
        with pytest.raises(TooLateError):
            session["a"] = 2
        await send({"type": "websocket.send", "text": "hi"})

    accept, hi = talk(sessions, act, {})
    assert hi == {"type": "websocket.send", "text": "hi"}
    (own, cookie) = accept["headers"]
    assert own == (b"x-own", b"1")
    assert cookie[0] == b"set-cookie"
    name, _, rest = cookie[1].decode().partition("=")
    assert ask(dict, sessions, {name: rest.split(";")[0]}).json() == {"a": 1}


def test_a_websocket_may_look_first_after_it_accepted(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)

    async def act(session: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await session.aload()
        await send({"type": "websocket.send", "text": session.user_id})

    assert [each.get("text") for each in talk(sessions, act, cookies)] == [None, "ann"]


@pytest.mark.parametrize("extensions", [None, {}, {"websocket.http.response": {}}])
@pytest.mark.parametrize("accepts_first", [False, True])
def test_a_websocket_and_a_silent_store(
    sessions: Sessions, memory: WatchedStore, extensions: dict[str, Any] | None, accepts_first: bool
) -> None:
    cookies = logged_in(sessions, a=1)
    memory.is_down = True

    async def act(session: Any, send: Any) -> None:
        if accepts_first:
            await send({"type": "websocket.accept"})
        session.get("a")

    sent = talk(sessions, act, cookies, extensions)
    if accepts_first or not extensions:
        assert sent[-1]["type"] == "websocket.close"
        assert sent[-1]["code"] == 1013
    else:
        assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 503)
        assert sent[1]["type"] == "websocket.http.response.body"


def test_a_websocket_that_is_refused_saves_nothing(sessions: Sessions, memory: WatchedStore) -> None:
    async def act(session: Any, send: Any) -> None:
        session["a"] = 1
        await send({"type": "websocket.close", "code": 1008})

    assert talk(sessions, act, {}) == [{"type": "websocket.close", "code": 1008}]
    assert memory.take() == []
