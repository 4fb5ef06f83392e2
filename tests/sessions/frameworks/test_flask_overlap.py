"""Overlapping requests of one session under Flask, with and without Flask-Login, over every store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import overlap
import pytest
from flask import Flask, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from sites import WsgiSite

from limpet.sessions import Sessions
from limpet.sessions.flask import LimpetSessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


class User(UserMixin):
    def __init__(self, id_: str) -> None:
        self.id = id_


def make_app(sessions: Sessions, gate: overlap.Gate) -> Flask:
    app = Flask(__name__)
    app.testing = True
    LimpetSessions(app, sessions=sessions)

    def slow_read() -> str:
        session.get("mine")
        gate.hold()
        return "ok"

    def slow_write() -> str:
        session.get("mine")
        gate.hold()
        session["mine"] = 2
        return "ok"

    route(app, "/begin", lambda: session.update(mine=0))
    route(app, "/write", lambda: session.update(theirs=1))
    route(app, "/rotate", lambda: session.rotate())  # noqa: PLW0108  # there is no session yet
    app.add_url_rule("/slow-read", view_func=slow_read)
    app.add_url_rule("/slow-write", view_func=slow_write)
    return app


def route(app: Flask, path: str, act: Callable[..., Any]) -> None:
    def view(**arguments: str) -> str:
        act(**arguments)
        return "ok"

    app.add_url_rule(path, endpoint=path, view_func=view)


def fields() -> dict[str, Any]:
    return {"mine": session.get("mine"), "theirs": session.get("theirs")}


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap(store: Store, case: overlap.Case) -> None:
    sessions, gate = Sessions(store, secret=SECRET, deadline_s=10), overlap.Gate()
    app = make_app(sessions, gate)
    route(app, "/login/<user>", lambda user: session.login(user))  # noqa: PLW0108
    route(app, "/logout", lambda: session.logout())  # noqa: PLW0108
    app.add_url_rule("/state", view_func=lambda: {"user": session.user_id, **fields()})  # type: ignore[attr-defined]
    with WsgiSite(app) as site:
        overlap.check(site, gate, case, revoke=sessions.revoke_user)


@pytest.mark.parametrize("case", overlap.CASES, ids=str)
def test_overlap_with_flask_login(store: Store, case: overlap.Case) -> None:
    sessions = Sessions(store, secret=SECRET, deadline_s=10, user_field="_user_id")
    gate = overlap.Gate()
    app = make_app(sessions, gate)
    app.secret_key = SECRET
    LoginManager(app).user_loader(User)
    route(app, "/login/<user>", lambda user: login_user(User(user)))
    route(app, "/logout", logout_user)
    app.add_url_rule("/state", view_func=lambda: {"user": current_user.get_id(), **fields()})
    if case.other == "/logout":
        # Flask-Login keeps the other fields; what comes too late for the old session is not among them.
        case = case._replace(state={"user": None, "mine": 0, "theirs": None})
    with WsgiSite(app) as site:
        overlap.check(site, gate, case, revoke=sessions.revoke_user)
