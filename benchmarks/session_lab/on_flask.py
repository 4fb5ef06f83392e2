"""Sessions under Flask: Flask-Session, with and without its refresh at each request, and limpet's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flask
import redis
from flask.sessions import SessionInterface, SessionMixin
from flask_session import Session as FlaskSession

from limpet.sessions.flask import LimpetSessions
from session_lab import views
from session_lab.site import Site, WsgiSite

if TYPE_CHECKING:
    from collections.abc import Callable

_USER = "_user_id"  # as Flask-Login names it


class _Mapping(dict[str, Any], SessionMixin):
    pass


class NoSessions(SessionInterface):
    """Gives a request a mapping that costs nothing."""

    def open_session(self, app: Any, request: Any) -> _Mapping:  # noqa: ARG002  # Flask's signature
        """Return the mapping."""
        return _Mapping({_USER: "1", **views.FIELDS})

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        """Save nothing."""


def sites(port: int) -> dict[str, Site]:
    """Return the sites by the name of who keeps their sessions."""
    url = f"redis://127.0.0.1:{port}/0"
    bare, ours, near = _app(_nothing), _app(_nothing), _app(_nothing)
    bare.session_interface = NoSessions()
    LimpetSessions(ours, store=url)
    LimpetSessions(near, store=url, near_cache=True)
    theirs = {
        "Flask-Session": _flask_session(port, refresh=True),
        "Flask-Session, no refresh": _flask_session(port, refresh=False),
    }
    apps = {views.BASELINE: bare, "limpet": ours, "limpet, near-cache": near, **theirs}
    return {name: WsgiSite(app) for name, app in apps.items()}


def _flask_session(port: int, *, refresh: bool) -> flask.Flask:
    app = _app(lambda: app.session_interface.regenerate(flask.session))
    app.config.update(
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis(port=port),
        SESSION_REFRESH_EACH_REQUEST=refresh,
    )
    FlaskSession(app)
    return app


def _nothing() -> None:
    # A login under limpet is the field that says who it is.
    pass


def _app(change_id: Callable[[], None]) -> flask.Flask:
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY=views.SECRET, SESSION_COOKIE_SECURE=True)

    def log_in() -> str:
        change_id()
        flask.session.update({_USER: flask.request.args["user"], **views.FIELDS})
        return "logged in"

    app.add_url_rule("/home", "home", lambda: views.home(flask.session, _USER))
    app.add_url_rule("/untouched", "untouched", lambda: "untouched")
    app.add_url_rule("/read", "read", lambda: views.read(flask.session, _USER))
    app.add_url_rule("/write", "write", lambda: views.write(flask.session))
    app.add_url_rule("/visit", "visit", lambda: views.visit(flask.session))
    app.add_url_rule("/login", "login", log_in)
    return app
