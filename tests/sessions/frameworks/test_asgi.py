"""The ASGI middleware under Starlette, FastAPI and bare apps: cost, headers and cookies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from asgi_apps import SECRET, ask, logged_in, site_of
from fastapi import Depends, FastAPI
from sites import ADDRESS, AsgiSite, Browser
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request  # noqa: TC002  # FastAPI reads annotations
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from watched_store import WatchedStore

from limpet.sessions import CookieSettings, Session, Sessions
from limpet.sessions.asgi import SessionMiddleware


@pytest.fixture
def memory() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def sessions(memory: WatchedStore) -> Sessions:
    return Sessions(memory, secret=SECRET)


async def current(connection: HTTPConnection) -> Session:
    """Do what the documentation recommends to FastAPI apps."""
    session: Session = connection.session  # type: ignore[assignment]
    await session.aload()
    return session


def test_two_lines_switch_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    app = FastAPI()
    app.add_middleware(SessionMiddleware)

    @app.get("/")
    async def count(request: Request) -> int:
        total: int = request.session.get("n", 0) + 1
        request.session["n"] = total
        return total

    with AsgiSite(app) as site:
        browser = Browser(site)
        assert [browser.get("/").json() for _ in range(3)] == [1, 2, 3]
    with pytest.raises(TypeError, match="belong to Sessions"):
        SessionMiddleware(app, Sessions(), secure=True)


# Round trips.


def test_round_trips(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = logged_in(sessions, a=1)
    for act, jar, asked in [
        (lambda _session: None, {}, []),
        (lambda session: session.get("a"), {}, []),
        (lambda _session: None, cookies, []),
        (lambda session: session["a"], cookies, ["Load"]),
        (lambda session: session.update(a=session["a"] + 1), cookies, ["Load", "Commit"]),
        (lambda session: session.update(a=session["a"]), cookies, ["Load"]),
    ]:
        memory.take()
        ask(act, sessions, dict(jar))
        assert memory.take() == asked


def test_a_dependency_loads_without_blocking(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = logged_in(sessions, a=1)
    memory.is_async_only = True

    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=sessions)

    @app.get("/")
    async def show(session: Annotated[Session, Depends(current)]) -> dict[str, Any]:
        session["b"] = 2
        return dict(session)

    with AsgiSite(app) as site:
        assert Browser(site, cookies).get("/").json() == {"a": 1, "b": 2}


def test_a_slow_store_is_awaited_before_the_app_runs(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = logged_in(sessions, a=1)
    memory.is_async_only = True
    sessions.store._took_s = 0.006
    assert ask(dict, sessions, cookies).json() == {"a": 1}


def test_parallel_first_requests_all_count(sessions: Sessions) -> None:
    cookies: dict[str, str] = {}
    ask(lambda session: session.update(n=0), sessions, cookies)
    with site_of(lambda session: session.incr("n"), sessions) as site, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Browser(site, dict(cookies)).get("/"), range(40)))
    assert ask(dict, sessions, cookies).json() == {"n": 40}


def test_parallel_requests_of_a_new_visitor_make_sessions_that_do_not_disturb_each_other(
    sessions: Sessions,
) -> None:
    with site_of(lambda session: session.incr("n"), sessions) as site, ThreadPoolExecutor(4) as pool:
        browsers = [Browser(site) for _ in range(8)]
        list(pool.map(lambda browser: browser.get("/"), browsers))
        assert len({tuple(browser.cookies.values()) for browser in browsers}) == 8
        assert [browser.get("/").json() for browser in browsers] == [2] * 8


def test_changes_inside_values_are_saved(sessions: Sessions) -> None:
    cookies = logged_in(sessions, cart={"apples": [1]})
    ask(lambda session: session["cart"]["apples"].append(2), sessions, cookies)
    assert ask(dict, sessions, cookies).json() == {"cart": {"apples": [1, 2]}}


def test_clearing_the_session_logs_out_as_elsewhere(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)
    copy = dict(cookies)
    ask(lambda session: session.clear(), sessions, cookies)
    assert cookies == {}
    assert ask(lambda session: session.user_id, sessions, copy).json() is None


def test_who_logs_in_is_listed_with_address_and_device(sessions: Sessions) -> None:
    with site_of(lambda session: session.login("ann"), sessions) as site:
        Browser(site).get("/", user_agent="Lynx/1")
    (listed,) = sessions.list_user("ann")
    assert (listed.address, listed.device) == (ADDRESS, "Lynx/1")


# Headers.


@pytest.mark.parametrize(
    ("own", "vary"),
    [("", ["Cookie"]), ("Accept", ["Accept, Cookie"]), ("accept,COOKIE", ["accept,COOKIE"]), ("*", ["*"])],
)
def test_any_look_varies_by_cookie(sessions: Sessions, own: str, vary: list[str]) -> None:
    headers = {"Vary": own} if own else {}
    for act in (lambda s: "x" in s, len, lambda s: s.get("x"), bool, list):
        with site_of(act, sessions, **headers) as site:
            assert Browser(site).get("/").values("vary") == vary
    with site_of(lambda _session: None, sessions, **headers) as site:
        assert Browser(site).get("/").values("vary") == ([own] if own else [])


def test_a_cookie_is_never_stored_by_a_cache(sessions: Sessions) -> None:
    own = {"Cache-Control": "public, max-age=600", "CDN-Cache-Control": "max-age=600", "Expires": "0"}
    with site_of(lambda session: session.incr("n"), sessions, **own) as site:
        browser = Browser(site)
        first, second = browser.get("/"), browser.get("/")
    assert first.values("cache-control") == ["no-store"]
    assert first.values("cdn-cache-control") == first.values("expires") == []
    # No new cookie the second time: what the app says about caches is the app's business.
    assert second.values("set-cookie") == []
    assert second.values("cache-control") == ["public, max-age=600"]


def test_the_apps_own_cookies_stay_lines_of_their_own(sessions: Sessions) -> None:
    async def serve(request: Request) -> PlainTextResponse:
        request.session["a"] = 1
        response = PlainTextResponse("ok")
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    app = SessionMiddleware(Starlette(routes=[Route("/", serve)]), sessions)
    with AsgiSite(app) as site:
        names = [line.partition("=")[0] for line in Browser(site).get("/").values("set-cookie")]
    assert names == ["one", "two", "__Host-limpet_session"]


# Cookies from elsewhere.


def test_a_signature_is_verified_when_the_session_is_used(sessions: Sessions, memory: WatchedStore) -> None:
    cookies = {sessions.cookie.full_name: "forged"}
    ask(lambda _session: None, sessions, dict(cookies))
    assert not sessions.events.met
    assert ask(dict, sessions, dict(cookies)).json() == {}
    assert sum(sessions.events.met.values()) == 1
    assert memory.take() == []


def test_cookies_of_the_same_name_from_elsewhere_do_not_log_out(sessions: Sessions) -> None:
    (pair,) = logged_in(sessions).items()
    name, value = pair
    stale = logged_in(sessions)[name][:-2] + "xx"
    with site_of(lambda session: session.user_id, sessions) as site:
        for header in (
            f"{name}=tossed; {name}={value}",
            f"{name}={value}; {name}={stale}",
            f'a="; {name}=x"; {name}={value};;',
            f"x{name}=tossed; {name}={value}",
        ):
            answer = site.request("GET", "/", [("cookie", header)])
            assert answer.json() == "ann", header
        # HTTP/2 may split the header into its pairs.
        assert site.request("GET", "/", [("cookie", "a=1"), ("cookie", f"{name}={value}")]).json() == "ann"


def test_a_session_moves_to_the_new_name_and_a_logout_clears_both(memory: WatchedStore) -> None:
    before = Sessions(memory, secret=SECRET, cookie=CookieSettings(secure=False, name="old"))
    settings = CookieSettings(secure=False, name="new", old_names=("old", "__Host-old"))
    sessions = Sessions(memory, secret=SECRET, cookie=settings)
    jar: dict[str, str] = {}
    ask(lambda session: session.login("ann"), before, jar)
    copy = dict(jar)
    assert ask(lambda session: session.user_id, sessions, jar).json() == "ann"
    ask(lambda session: session.rotate(), sessions, jar)
    assert jar.keys() == {"new"}
    ask(lambda session: session.logout(), sessions, jar)
    assert jar == {}
    session = sessions.open_request(copy)
    session.logout()
    lines = [value for name, value in sessions.save(session) if name == "Set-Cookie"]
    assert [line.partition("=")[0] for line in lines] == ["new", "old", "__Host-old"]
    assert all("Max-Age=0" in line for line in lines)
    assert "; Secure" in lines[2]


def test_of_two_cookies_that_we_signed_the_newer_counts(memory: WatchedStore) -> None:
    now_s = [1_800_000_000.0]
    settings = CookieSettings(secure=False, name="new", old_names=("old",))
    sessions = Sessions(memory, secret=SECRET, cookie=settings, now_s=lambda: now_s[0])
    values = []
    for user in ("ann", "ben"):
        jar: dict[str, str] = {}
        ask(lambda session, user=user: session.login(user), sessions, jar)
        values.append(jar["new"])
        now_s[0] += 10
    ann, ben = values
    for header in (f"new={ann}; new={ben}", f"new={ben}; new={ann}", f"new={ann}; old={ben}"):
        with site_of(lambda session: session.user_id, sessions) as site:
            assert site.request("GET", "/", [("cookie", header)]).json() == "ben"
    assert sessions.open_request({"new": ann, "old": ben}).user_id == "ben"
