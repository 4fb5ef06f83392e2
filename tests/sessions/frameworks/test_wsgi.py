"""Sessions under any WSGI app."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import overlap
import pytest
from sites import ADDRESS, AsgiSite, Browser, WsgiSite
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from watched_store import is_note

from limpet.sessions import Session, Sessions, StoreUnavailableError, TooLateError, asgi
from limpet.sessions.stores.memory import MemoryStore
from limpet.sessions.wsgi import KEY, SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


class Switch(MemoryStore):
    """A store that counts its round trips and can be switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.trips = 0
        self.is_down = False

    def run(self, operation: Any) -> Any:
        self.trips += not is_note(operation)
        if self.is_down:
            raise ConnectionRefusedError
        return super().run(operation)


@pytest.fixture
def memory() -> Switch:
    return Switch()


@pytest.fixture
def sessions(memory: Switch) -> Iterator[Sessions]:
    made = Sessions(memory, secret=SECRET)
    yield made
    made.close()


def app_of(act: Callable[[Session], Any], headers: Iterable[tuple[str, str]] = ()) -> Any:
    """Return an app that does something with its session and answers with what came of it."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = json.dumps(act(environ[KEY])).encode()
        start_response("200 OK", [("Content-Type", "application/json"), *headers])
        return [body]

    return app


def browser_of(app: Any, sessions: Sessions, cookies: dict[str, str] | None = None) -> Browser:
    """Return a browser of an app, with WSGI's rules checked on both sides of the middleware."""
    site = WsgiSite(validator(SessionMiddleware(validator(app), sessions)))
    return Browser(site, {} if cookies is None else cookies)


def logged_in(sessions: Sessions, **fields: Any) -> dict[str, str]:
    browser = browser_of(app_of(lambda session: session.login("ann") or session.update(fields)), sessions)
    assert browser.get("/").status == 200
    return browser.cookies


def overlap_app(gate: overlap.Gate) -> Any:
    def act(environ: dict[str, Any]) -> None:
        session, path = environ[KEY], environ["PATH_INFO"]
        if path.startswith("/slow"):
            session.get("mine")
            gate.hold()
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

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        act(environ)
        session = environ[KEY]
        state = {"user": session.user_id, "mine": session.get("mine"), "theirs": session.get("theirs")}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(state).encode()]

    return app


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case) -> None:
    sessions = Sessions(store, secret=SECRET, deadline_s=10)
    gate = overlap.Gate()
    with WsgiSite(SessionMiddleware(overlap_app(gate), sessions)) as site:
        overlap.check(site, gate, case, revoke=sessions.revoke_user)
    sessions.close()


def test_options_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    middleware = SessionMiddleware(app_of(lambda session: session.incr("n")), store="memory://", secure=False)
    browser = Browser(WsgiSite(middleware))
    assert [browser.get("/").json() for _ in range(3)] == [1, 2, 3]
    assert list(browser.cookies) == ["limpet_session"]
    with pytest.raises(TypeError, match="belong to Sessions"):
        SessionMiddleware(app_of(len), middleware.sessions, secure=True)


def test_round_trips(sessions: Sessions, memory: Switch) -> None:
    cookies = logged_in(sessions, a=1)
    sessions.close()  # waits for the check at the start
    for act, jar, trips in [
        (lambda _session: None, {}, 0),
        (lambda session: session.get("a"), {}, 0),
        (lambda _session: None, cookies, 0),
        (lambda session: session["a"], cookies, 1),
        (lambda session: session.update(a=session["a"] + 1), cookies, 2),
    ]:
        memory.trips = 0
        browser_of(app_of(act), sessions, dict(jar)).get("/")
        assert memory.trips == trips


def test_who_logs_in_is_listed_with_address_and_device(sessions: Sessions) -> None:
    browser_of(app_of(lambda session: session.login("ann")), sessions).get("/", user_agent="Lynx/1")
    (listed,) = sessions.list_user("ann")
    assert (listed.address, listed.device) == (ADDRESS, "Lynx/1")


def test_headers_join_those_of_the_app(sessions: Sessions) -> None:
    own = [("Vary", "Accept"), ("cache-control", "public, max-age=9"), ("Set-Cookie", "b=2"), ("X-A", "1")]
    answer = browser_of(app_of(lambda session: session.update(a=1), own), sessions).get("/")
    assert answer.values("vary") == ["Accept, Cookie"]
    assert answer.values("cache-control") == ["no-store"]
    assert len(answer.values("set-cookie")) == 2
    assert answer.values("x-a") == ["1"]
    answer = browser_of(app_of(lambda _session: None, own), sessions).get("/")
    assert answer.values("vary") == ["Accept"]
    assert answer.values("cache-control") == ["public, max-age=9"]


# The ways in which an app may answer.


def test_a_generator_may_start_late_and_change_until_its_first_byte(sessions: Sessions) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        environ[KEY]["a"] = 1
        yield b"one"
        yield b"two"

    browser = browser_of(app, sessions)
    assert browser.get("/").body == b"onetwo"
    assert browser_of(app_of(dict), sessions, browser.cookies).get("/").json() == {"a": 1}


def test_what_is_written_by_the_callable_comes_after_the_head(sessions: Sessions) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        environ[KEY]["a"] = 1
        write(b"one")
        with pytest.raises(TooLateError):
            environ[KEY]["a"] = 2
        return [b"two"]

    answer = browser_of(app, sessions).get("/")
    assert answer.body == b"onetwo"
    assert len(answer.values("set-cookie")) == 1


def test_a_second_start_with_exc_info_replaces_the_first(sessions: Sessions) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            environ[KEY]["a"] = 1
            environ[KEY]["b"]
        except KeyError:
            start_response("418 Teapot", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    answer = browser_of(app, sessions).get("/")
    assert answer.status == 418
    assert len(answer.values("set-cookie")) == 1


def test_a_start_after_the_first_byte_is_the_servers_to_judge(sessions: Sessions) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        try:
            int("told by the server")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())

    def start_response(_status: str, _headers: Any, exc_info: Any = None) -> Any:
        if exc_info is not None:
            raise exc_info[1]
        return print

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    body = SessionMiddleware(app, sessions)(environ, start_response)
    with pytest.raises(ValueError, match="told by the server"):
        list(body)


def test_a_start_twice_is_a_mistake(sessions: Sessions) -> None:
    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    with pytest.raises(AssertionError, match="twice"):
        SessionMiddleware(app, sessions)({"REQUEST_METHOD": "GET"}, None)


class Body:
    """A body that notes its end."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("is_read", [True, False])
def test_the_apps_body_is_closed_even_if_nobody_reads_it(sessions: Sessions, is_read: bool) -> None:
    body = Body(b"x")

    def app(_environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return body

    sent: Any = SessionMiddleware(app, sessions)({"REQUEST_METHOD": "GET"}, lambda *_: print)
    if is_read:
        assert list(sent) == [b"x"]
    sent.close()
    assert body.closed == 1


def test_the_servers_file_wrapper_reaches_the_server(sessions: Sessions) -> None:
    file = FileWrapper(io.BytesIO(b"x"))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        environ[KEY]["a"] = 1
        start_response("200 OK", [])
        return file

    started: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": FileWrapper}
    sent = SessionMiddleware(app, sessions)(environ, lambda *args: started.append(args) or print)
    assert sent is file
    assert "Set-Cookie" in dict(started[0][1])


def test_late_changes_are_refused_or_told(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    cookies = logged_in(sessions, cart=[1])

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        session = environ[KEY]
        cart = session["cart"]
        start_response("200 OK", [])
        yield b"one"
        with pytest.raises(TooLateError):
            session["late"] = 1
        cart.append(2)
        yield b"two"

    Browser(WsgiSite(SessionMiddleware(app, sessions)), dict(cookies)).get("/")
    assert "are not saved: 'cart'" in caplog.text
    assert browser_of(app_of(dict), sessions, cookies).get("/").json() == {"cart": [1]}


def test_a_first_look_while_the_body_goes_out_is_refused(sessions: Sessions) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        with pytest.raises(TooLateError):
            environ[KEY].get("a")

    Browser(WsgiSite(SessionMiddleware(app, sessions))).get("/")


def test_an_app_that_raises_saves_nothing(sessions: Sessions) -> None:
    cookies = logged_in(sessions, a=1)

    def act(session: Session) -> None:
        session["a"] = 2
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        browser_of(app_of(act), sessions, cookies).get("/")
    assert browser_of(app_of(dict), sessions, cookies).get("/").json() == {"a": 1}


def test_of_two_middlewares_the_outer_one_counts(sessions: Sessions) -> None:
    inner = SessionMiddleware(app_of(lambda session: session.incr("n")), Sessions(Switch(), secret=SECRET))
    browser = Browser(WsgiSite(SessionMiddleware(inner, sessions)))
    assert len(browser.get("/").values("set-cookie")) == 1
    assert browser.get("/").json() == 2


# Outages.


def _catches_all(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    # Many frameworks make a 500 of whatever a view raises.
    try:
        environ[KEY]["a"] += 1
    except Exception:  # noqa: BLE001
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"oops"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


def _generates(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    environ[KEY]["a"] += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"ok"


def _writes(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    environ[KEY]["a"] = 2
    write(b"ok")
    return []


@pytest.mark.parametrize(
    "app", [app_of(lambda session: session.incr("a")), _catches_all, _generates, _writes]
)
@pytest.mark.parametrize("is_late", [False, True], ids=["at the load", "at the save"])
def test_a_silent_store_is_503_and_logs_nobody_out(
    sessions: Sessions, memory: Switch, app: Any, is_late: bool
) -> None:
    cookies = logged_in(sessions, a=1)
    before = dict(cookies)

    def switching(environ: dict[str, Any], start_response: Any) -> Any:
        if is_late:
            environ[KEY].get("a")
        memory.is_down = True
        return app(environ, start_response)

    answer = browser_of(switching, sessions, cookies).get("/")
    assert (answer.status, answer.values("retry-after")) == (503, ["1"])
    assert answer.values("cache-control") == ["no-store"]
    assert answer.values("vary") == ["Cookie"]
    assert answer.values("set-cookie") == []
    assert cookies == before
    memory.is_down = False
    seen = browser_of(app_of(lambda session: [session.user_id, session["a"]]), sessions, cookies).get("/")
    assert seen.json() == ["ann", 1]


def test_the_apps_own_answer_to_an_outage_is_left(sessions: Sessions, memory: Switch) -> None:
    cookies = logged_in(sessions, a=1)
    memory.is_down = True

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with pytest.raises(StoreUnavailableError):
            environ[KEY].get("a")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"as a guest"]

    answer = browser_of(app, sessions, cookies).get("/")
    assert (answer.status, answer.body) == (200, b"as a guest")
    assert answer.values("vary") == ["Cookie"]
    assert answer.values("cache-control") == ["no-store"]


def test_an_untouched_session_does_not_need_the_store(sessions: Sessions, memory: Switch) -> None:
    cookies = logged_in(sessions)
    memory.is_down = True
    assert browser_of(app_of(lambda _session: None), sessions, cookies).get("/").status == 200


def test_a_head_request_gets_no_body(sessions: Sessions, memory: Switch) -> None:
    cookies = logged_in(sessions)
    memory.is_down = True
    answer = browser_of(app_of(len), sessions, cookies).request("HEAD", "/")
    assert (answer.status, answer.body) == (503, b"")


def test_findings_are_told_once(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    browser = browser_of(app_of(len), sessions)
    browser.get("/")
    browser.get("/")
    sessions.close()
    assert caplog.text.count("S101") == 1


# One cookie for both worlds.


def test_asgi_writes_and_wsgi_reads(sessions: Sessions) -> None:
    async def write(request: Any) -> JSONResponse:
        request.session["a"] = {"b": [1]}
        request.session.login("ann")
        return JSONResponse({})

    inner = Starlette(routes=[Route("/", write)])
    inner.add_middleware(asgi.SessionMiddleware, sessions=sessions)
    with AsgiSite(inner) as site:
        browser = Browser(site)
        browser.get("/")
    seen = browser_of(app_of(lambda session: [session.user_id, session["a"]]), sessions, browser.cookies)
    assert seen.get("/").json() == ["ann", {"b": [1]}]
