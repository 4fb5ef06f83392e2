"""Doors: the same little site made with every framework, over a store in memory and a clock that tests move.

    /untouched      does not look at the session
    /do/<act>       does what `ACTS` says with the session
    /login/<user>   logs in the user "1" or "2", as apps of this framework do it
    /logout         logs out
    /pin, /unpin    says that something of the session is in this process, or no longer
    /state          JSON {"user": "1" or null, "n": the field `n` or null}

Every response says `Cache-Control: public, max-age=600`, as a careless app would.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import flask
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sites import AsgiSite, Browser, WsgiSite
from starlette.applications import Starlette
from starlette.requests import Request  # noqa: TC002  # Starlette reads annotations
from starlette.responses import JSONResponse
from starlette.routing import Route
from watched_store import is_note

from limpet.sessions import CookieSettings, Policy, Sessions, asgi, wsgi
from limpet.sessions.flask import LimpetSessions
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sites import Answer, Headers, Site

    from limpet.sessions import EndReason

SECRET = "a secret for tests that is long enough"
NAME = "__Host-limpet_session"
CARELESS = {"Cache-Control": "public, max-age=600"}
START_S = 1_800_000_000.0


def _read(session: Any) -> Any:
    return session.get("n")


def _write(session: Any) -> Any:
    session["n"] = session.get("n", 0) + 1
    return session["n"]


#: What apps do with a session; each is a look at least.
ACTS: dict[str, Callable[[Any], Any]] = {
    "get": _read,
    "in": lambda session: "n" in session,
    "keys": lambda session: sorted(session.keys()),
    "items": lambda session: sorted(session.items()),
    "pop": lambda session: session.pop("absent", None),
    "setdefault": lambda session: session.setdefault("n", 7),
    "write": _write,
    "nothing": lambda _session: None,
}


class Clock:
    """A wall clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


class CountedStore(MemoryStore):
    """A store in memory that counts what it is asked."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(now_s=clock)
        self.asked: list[str] = []

    def run(self, operation: Any) -> Any:
        if is_note(operation):
            return None
        self.asked.append(type(operation).__name__)
        return super().run(operation)

    def size(self) -> int:
        """Return how many records and tombstones there are."""
        return len(self._entries)

    def lose_everything(self) -> None:
        """Do what a crash without persistence does."""
        self.__init__(self._now_s)  # type: ignore[misc,arg-type]


@dataclass
class Door:
    """A site, and what is behind it.

    Attributes:
        framework: "asgi", "wsgi", "flask", "flask-login", "django" or "django-async".
        name: of the session cookie.
        sessions: of the app; another object after `reopen`.
    """

    framework: str
    clock: Clock
    store: CountedStore
    site: Site
    sessions: Sessions
    stack: ExitStack
    secrets: tuple[str, ...] = (SECRET,)
    policy: Policy = field(default_factory=Policy)

    @property
    def name(self) -> str:
        return self.sessions.cookie.full_name

    def browser(self, **cookies: str) -> Browser:
        """Return a browser; `session=` is the value of the session cookie."""
        named = {self.name if name == "session" else name: value for name, value in cookies.items()}
        return Browser(self, named)

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        """Ask the site that is open now."""
        return self.site.request(method, target, headers, body)

    def reopen(self, *, secrets: tuple[str, ...] = (SECRET,), policy: Policy | None = None) -> None:
        """Deploy the site anew over the same store."""
        self.stack.close()
        self.secrets, self.policy = secrets, policy or Policy()
        made = _MAKERS[self.framework](self.store, self.secrets, self.policy)
        self.site, self.sessions = self.stack.enter_context(made)

    def ends(self, reason: EndReason) -> tuple[int, int]:
        """Return how many sessions ended for a reason, and how many dead cookies were met for it."""
        return self.sessions.events.ends[reason], self.sessions.events.met[reason]

    def raw(self, path: str, cookie: str) -> Answer:
        """Ask with a Cookie header as it is."""
        return self.site.request("GET", path, [("cookie", cookie)])


@contextmanager
def opened(framework: str) -> Iterator[Door]:
    """Open a door."""
    clock = Clock()
    store = CountedStore(clock)
    with ExitStack() as stack:
        site, sessions = stack.enter_context(_MAKERS[framework](store, (SECRET,), Policy()))
        yield Door(framework, clock, store, site, sessions, stack)


def who(browser: Browser) -> Any:
    return browser.get("/state").json()["user"]


def flat(answer: Answer, name: str) -> list[str]:
    """Return the members of a list header, in lower case."""
    return [each.strip().lower() for line in answer.values(name) for each in line.split(",")]


def act_on(session: Any, path: str) -> Any:
    """Serve a path of a site whose logins are limpet's own."""
    match path.strip("/").split("/"):
        case ["do", act]:
            return ACTS[act](session)
        case ["pin"]:
            session.pin("upload")
        case ["unpin"]:
            session.unpin()
        case ["login", user]:
            session.login(user)
        case ["logout"]:
            session.logout()
        case ["state"]:
            return {"user": session.user_id, "n": session.get("n")}
    return None


# Frameworks.


@contextmanager
def _asgi(store: CountedStore, secrets: tuple[str, ...], policy: Policy) -> Iterator[tuple[Site, Sessions]]:
    sessions = Sessions(store, secret=secrets, policy=policy)

    async def serve(request: Request) -> JSONResponse:
        content = None
        if request.url.path != "/untouched":
            content = act_on(request.session, request.url.path)
        return JSONResponse(content, headers=CARELESS)

    app = Starlette(routes=[Route("/{path:path}", serve)])
    app.add_middleware(asgi.SessionMiddleware, sessions=sessions)
    with AsgiSite(app) as site:
        yield site, sessions


@contextmanager
def _wsgi(store: CountedStore, secrets: tuple[str, ...], policy: Policy) -> Iterator[tuple[Site, Sessions]]:
    sessions = Sessions(store, secret=secrets, policy=policy)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        path, content = environ["PATH_INFO"], None
        if path != "/untouched":
            content = act_on(environ[wsgi.KEY], path)
        start_response("200 OK", [("Content-Type", "application/json"), *CARELESS.items()])
        return [json.dumps(content).encode()]

    yield WsgiSite(wsgi.SessionMiddleware(app, sessions)), sessions
    sessions.close()


class _User(UserMixin):
    def __init__(self, id_: str) -> None:
        self.id = id_


def _flask_app(sessions: Sessions, act: Callable[[str], Any]) -> flask.Flask:
    app = flask.Flask(__name__)
    app.testing = True
    app.secret_key = SECRET
    LimpetSessions(app, sessions=sessions)

    @app.get("/<path:path>")
    def serve(path: str) -> flask.Response:
        response = flask.jsonify(act(path) if path != "untouched" else None)
        response.headers.update(CARELESS)
        return response

    return app


@contextmanager
def _flask(store: CountedStore, secrets: tuple[str, ...], policy: Policy) -> Iterator[tuple[Site, Sessions]]:
    sessions = Sessions(store, secret=secrets, policy=policy)
    app = _flask_app(sessions, lambda path: act_on(flask.session, path))
    yield WsgiSite(app), sessions
    sessions.close()


@contextmanager
def _flask_login(
    store: CountedStore, secrets: tuple[str, ...], policy: Policy
) -> Iterator[tuple[Site, Sessions]]:
    sessions = Sessions(store, secret=secrets, policy=policy, user_field="_user_id")

    def act(path: str) -> Any:
        match path.split("/"):
            case ["login", user]:
                return login_user(_User(user))
            case ["logout"]:
                return logout_user()
            case ["state"]:
                return {"user": current_user.get_id(), "n": flask.session.get("n")}
        return act_on(flask.session, path)

    app = _flask_app(sessions, act)
    LoginManager(app).user_loader(_User)
    yield WsgiSite(app), sessions
    sessions.close()


def _django(*, is_async: bool) -> Callable[..., AbstractContextManager[tuple[Site, Sessions]]]:
    @contextmanager
    def made(
        store: CountedStore, secrets: tuple[str, ...], policy: Policy
    ) -> Iterator[tuple[Site, Sessions]]:
        import django_project

        from limpet.sessions.django import sessions

        serve = django_project.asgi if is_async else django_project.wsgi
        changes = {
            "ROOT_URLCONF": "django_door",
            "LIMPET_SESSION_STORE": store,
            "LIMPET_SECRET": list(secrets),
            "LIMPET_SESSION_POLICY": policy,
            "SESSION_COOKIE_NAME": NAME,
            "SESSION_COOKIE_SECURE": True,
        }
        with serve(**changes) as site:
            yield site, sessions()

    return made


_MAKERS: dict[str, Callable[..., AbstractContextManager[tuple[Site, Sessions]]]] = {
    "asgi": _asgi,
    "wsgi": _wsgi,
    "flask": _flask,
    "flask-login": _flask_login,
    "django": _django(is_async=False),
    "django-async": _django(is_async=True),
}
assert CookieSettings().full_name == NAME
