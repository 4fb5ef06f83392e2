"""Sessions for Flask: `LimpetSessions(app)`, and Flask's own `session` is a limpet session.

Flask opens a session before the view, and saves it after the last `after_request` function and
before the headers go out. What Flask cannot do is answer for a store that is silent: an error
while saving, or in an `after_request` function, becomes a 500 or reaches the server. So
`handle_exception` is extended: such a request gets 503. Its session is given up, that is, it reads
as empty, so that whatever else looks into it on the way out does not fail again, and is not saved.
A merge rule that finds no answer (`SessionConflictError`) is answered in the same way, with 409.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack, cast

import flask
from flask.sessions import SessionInterface, SessionMixin
from werkzeug.datastructures import Headers
from werkzeug.exceptions import Conflict, ServiceUnavailable

from limpet.sessions.balancer import told_in
from limpet.sessions.cookie import CookieSettings
from limpet.sessions.decide import Verdict
from limpet.sessions.errors import SessionConflictError, StoreUnavailableError
from limpet.sessions.headers import ONLY_VARY, merge
from limpet.sessions.policy import Policy
from limpet.sessions.request_state import NO_WISHES, Loaded, Wishes
from limpet.sessions.service import SECRET_VARIABLE, SECURE_VARIABLE, STORE_VARIABLE, Options, Sessions
from limpet.sessions.session import Session
from limpet.sessions.session_id import from_setting, split_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask, Request, Response
    from werkzeug.local import LocalProxy

    from limpet.sessions.record import Meta

LOG = logging.getLogger("limpet.sessions")
_EXTENSION = "limpet_sessions"
#: Where Flask-Login keeps who is logged in, and whether by a password in this session.
_USER_FIELD = "_user_id"
_FRESH_FIELD = "_fresh"
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}


class LimpetSessions:
    """Give Flask apps sessions that every server can read.

    `LimpetSessions(app)`, or `LimpetSessions()` and `init_app(app)` in a factory. What is not said
    here is read from `app.config`: `LIMPET_SESSION_STORE` and `LIMPET_SECRET`, then from the
    environment variables of these names; `SECRET_KEY` and `SECRET_KEY_FALLBACKS` if there is no
    `LIMPET_SECRET` at all. Flask's `SESSION_COOKIE_*` describe the cookie unless `cookie` is given,
    and `PERMANENT_SESSION_LIFETIME` is the idle timeout unless `policy` is.

    Args:
        app: the same as calling `init_app`.
        sessions: sessions that are shared with something else; their cookie, policy and
            `user_field` count, and no other option may be given.
        user_field: as for `Sessions`; by default where Flask-Login keeps the user.
        old_cookie_names: read as well, for one lifetime after a change of `SESSION_COOKIE_NAME`.
        options: as for `Sessions`.

    Raises:
        ConfigError: no store, no secret, or settings that browsers refuse.
        KeyRingError: a secret that is too short.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        sessions: Sessions | None = None,
        user_field: str | None = _USER_FIELD,
        old_cookie_names: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        if sessions is not None and (options or old_cookie_names or user_field != _USER_FIELD):
            raise TypeError("with sessions=, other options belong to Sessions(...)")
        self._app = app
        self._sessions = sessions
        self._user_field = user_field
        self._old_cookie_names = tuple(old_cookie_names)
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an app its sessions; a second call replaces those of the first."""
        sessions, settings = self._sessions, None
        if sessions is None:
            settings = _Follower(self._options, self._old_cookie_names)
            sessions = Sessions(**settings.options(app), user_field=self._user_field)
        if _EXTENSION not in app.extensions:
            _answer_outages(app)
        app.session_interface = app.extensions[_EXTENSION] = LimpetInterface(sessions, settings)

    @property
    def sessions(self) -> Sessions:
        """The sessions of the current app, for lists of devices and for revoking.

        Raises:
            RuntimeError: no app was given to the constructor, and there is no app context.
        """
        app = flask.current_app if flask.has_app_context() or self._app is None else self._app
        interface: LimpetInterface = app.extensions[_EXTENSION]
        return interface.sessions


class FlaskSession(Session, SessionMixin):
    """Flask's `session`: a limpet session with the attributes that Flask promises.

    With Flask-Login, a login that it calls fresh is a login, a new id included, and one that it
    does not (the remember-me cookie, another address) never satisfies `require_fresh`.
    """

    has_given_up = False

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a field."""
        super().__setitem__(name, value)
        # `confirm_login` after a password was asked again; `login_user` has said so already.
        if name == _FRESH_FIELD and value is True and self.wishes.user is None and self.user_id is not None:
            self.login(self.user_id)

    def clear(self) -> None:
        """End the session: what is put into it afterwards begins another one."""
        self.logout()

    @property
    def auth_time_s(self) -> float | None:
        """Wall clock of the login; None for a visitor, and for a login that is not fresh."""
        return None if self.get(_FRESH_FIELD) is False else super().auth_time_s

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser; False at first, as in Flask."""
        self._used()
        if self.wishes.is_persistent is not None:
            return self.wishes.is_persistent
        record = self._record()
        return record is not None and record.meta.is_persistent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self.set_lifetime(is_persistent=bool(value))

    @property
    def new(self) -> bool:  # type: ignore[override]  # Flask's is a plain attribute that nobody sets
        """Whether the store has no such session yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether there is something to save; setting it does nothing, for changes are seen."""
        return super().modified

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    def next_meta(self, now_s: float) -> Meta:
        """Return the meta data as this request wants it."""
        return super().next_meta(now_s)._replace(is_persistent=self.permanent)

    def give_up(self) -> None:
        """Read as empty from now on, and save nothing; the request is answered with 503."""
        self.has_given_up = True
        self.take(Loaded(Verdict.ABSENT))
        self.standing.forget()
        self._fields, self.wishes = None, Wishes()

    def unsaved_state(self) -> tuple[Wishes, dict[str, bytes]]:
        """Return all that would be saved, for comparison."""
        return NO_WISHES if self.wishes == NO_WISHES else replace(self.wishes), self._unsaved_values()


class LimpetInterface(SessionInterface):
    """What Flask calls before and after a request.

    Args:
        follower: None if the sessions do not follow the app's settings.
    """

    def __init__(self, sessions: Sessions, follower: _Follower | None) -> None:
        self.sessions = sessions
        self._follower = follower
        self._has_told = False

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002  # Flask's signature
        """Return the name of the session cookie."""
        return self.sessions.cookie.full_name

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the session of a request; no I/O."""
        if self._follower is not None:
            self._follower.follow(app, self.sessions)
        self.sessions.tell_findings()
        self._tell_if_insecure(app)
        environ = request.environ
        session = self.sessions.open_as(
            FlaskSession,
            environ.get("HTTP_COOKIE", "").encode("latin-1"),
            address=request.remote_addr or "",
            user_agent=environ.get("HTTP_USER_AGENT", ""),
            is_safe=request.method in _SAFE_METHODS,
            told=told_in(environ),
        )
        self.sessions.balancer.tell_moved(session)
        return session

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:  # noqa: ARG002
        """Save a session and add its headers.

        Raises:
            StoreUnavailableError: see the head of this file.
        """
        session = cast("FlaskSession", session)
        # What is generated later may look into the session when it is too late to say so.
        may_be_read_later = response.is_streamed and not response.direct_passthrough
        added = []
        if not session.has_given_up:
            added = self.sessions.save(session)
        told = self.sessions.balancer.tell(session)
        if not session.has_given_up:
            before = session.unsaved_state() if session.accessed else (NO_WISHES, {})
            session.accessed = False
            tell = partial(_tell_late_changes, session, before, is_streamed=may_be_read_later)
            response.call_on_close(tell)
        if may_be_read_later or (session.has_given_up and session.accessed):
            added += ONLY_VARY
        if added == ONLY_VARY and "Vary" not in response.headers:
            response.headers.add("Vary", "Cookie")
        elif added:
            response.headers = Headers(merge(response.headers, added))
        response.headers.extend(told)

    def _tell_if_insecure(self, app: Flask) -> None:
        if self._has_told:
            return
        self._has_told = True
        is_meant = app.debug or app.testing or os.environ.get(SECURE_VARIABLE, "").strip() == "0"
        if not self.sessions.cookie.secure and not is_meant:
            fix = f"set SESSION_COOKIE_SECURE = True, or {SECURE_VARIABLE}=0 if this is http on purpose"
            LOG.warning("the session cookie is also sent over http; %s", fix)


def _tell_late_changes(
    session: FlaskSession, before: tuple[Wishes, dict[str, bytes]], *, is_streamed: bool
) -> None:
    if not session.accessed and not is_streamed:
        return
    wishes, fields = session.unsaved_state()
    late = [name for name in fields.keys() | before[1].keys() if fields.get(name) != before[1].get(name)]
    if late or wishes != before[0]:
        what = f"of {', '.join(map(repr, sorted(late)))} " if late else ""
        LOG.error("a change %sto the session came after the headers of the response; it is not saved", what)


# Settings.


_COOKIE = ("DOMAIN", "HTTPONLY", "NAME", "PARTITIONED", "PATH", "SAMESITE", "SECURE")
_NAMES = ["APPLICATION_ROOT", "PERMANENT_SESSION_LIFETIME", *(f"SESSION_COOKIE_{each}" for each in _COOKIE)]


class _Settings(NamedTuple):
    # Flask's own settings that say something about sessions.
    name: str
    domain: str | None
    path: str
    is_secure: bool
    is_http_only: bool
    same_site: str | None
    is_partitioned: bool
    lifetime_s: float

    @classmethod
    def of(cls, app: Flask) -> _Settings:
        config = app.config
        return cls(
            config["SESSION_COOKIE_NAME"],
            config["SESSION_COOKIE_DOMAIN"],
            config["SESSION_COOKIE_PATH"] or config["APPLICATION_ROOT"],
            config["SESSION_COOKIE_SECURE"],
            config["SESSION_COOKIE_HTTPONLY"],
            config["SESSION_COOKIE_SAMESITE"],
            config.get("SESSION_COOKIE_PARTITIONED", False),  # since Flask 3.1
            app.permanent_session_lifetime.total_seconds(),
        )

    def cookie(self, old_names: tuple[str, ...], is_secure: bool | None) -> CookieSettings:
        # Flask's default is not secure, so there the environment may say more, never less.
        by_setting = self.is_secure or os.environ.get(SECURE_VARIABLE, "").strip() == "1"
        return CookieSettings(
            secure=by_setting if is_secure is None else is_secure,
            name=self.name,
            old_names=old_names,
            path=self.path,
            domain=self.domain,
            same_site=(self.same_site or "Lax").title(),
            is_partitioned=self.is_partitioned,
            is_http_only=self.is_http_only,
        )

    def policy(self) -> Policy:
        # Flask knows no absolute end; ours must not come before the lifetime that Flask is told.
        return Policy(idle_s=self.lifetime_s, absolute_s=max(Policy().absolute_s, self.lifetime_s))


class _Follower:
    # Flask reads its settings at every request, and many apps fill them in after their extensions
    # are set up, or in `before_request`.

    def __init__(self, options: Options, old_cookie_names: tuple[str, ...]) -> None:
        self._options = options
        self._old_cookie_names = old_cookie_names
        self._seen: list[Any] = []

    def options(self, app: Flask) -> Options:
        settings, self._seen = _Settings.of(app), [*map(app.config.get, _NAMES)]
        options = self._options.copy()
        options["store"] = self._options.get("store") or app.config.get(STORE_VARIABLE)
        options["secret"] = self._options.get("secret") or _secret(app)
        options["policy"] = self._options.get("policy") or settings.policy()
        options["cookie"] = self._options.get("cookie") or self._cookie(settings)
        return options

    def follow(self, app: Flask, sessions: Sessions) -> None:
        written = [*map(app.config.get, _NAMES)]
        if written == self._seen:
            return
        settings = _Settings.of(app)
        if self._options.get("cookie") is None:
            sessions.cookie = self._cookie(settings)
        if self._options.get("policy") is None:
            sessions.policy = settings.policy()
        self._seen = written

    def _cookie(self, settings: _Settings) -> CookieSettings:
        return settings.cookie(self._old_cookie_names, self._options.get("secure"))


def _secret(app: Flask) -> Sequence[str | bytes] | None:
    configured = app.config.get(SECRET_VARIABLE)
    if configured:
        found = split_secrets(configured) if isinstance(configured, str) else cast("list[str]", configured)
        return from_setting(found, SECRET_VARIABLE)
    if app.secret_key and not os.environ.get(SECRET_VARIABLE, "").strip():
        fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or ()
        names = "SECRET_KEY or SECRET_KEY_FALLBACKS" if fallbacks else "SECRET_KEY"
        return from_setting([app.secret_key, *fallbacks], names)
    return None


# Outages.

_ANSWERED = (StoreUnavailableError, SessionConflictError)


def _answer_outages(app: Flask) -> None:
    for kind in _ANSWERED:
        if kind not in app.error_handler_spec[None][None]:
            app.register_error_handler(kind, _answer)
    app_: Any = app  # from Flask 3.2 on, these methods are given a context first
    handle_exception = app_.handle_exception

    def handle(*args: Any) -> Response:
        *context, error = args
        if not isinstance(error, _ANSWERED):
            try:
                return cast("Response", handle_exception(*args))
            except _ANSWERED as outage:  # the page for that error needed the session
                error = outage
        _give_up()
        answer = app_.handle_user_exception(*context, error)
        return cast("Response", app_.finalize_request(*context, answer, from_error_handler=True))

    app_.handle_exception = handle


def _answer(error: StoreUnavailableError | SessionConflictError) -> Response:
    _give_up()
    page: Conflict | ServiceUnavailable = Conflict(
        "Your session changed meanwhile. Please load the page again."
    )
    if isinstance(error, StoreUnavailableError):
        page = ServiceUnavailable("Please try again in a moment.")
    app = flask.current_app
    handler = app._find_error_handler(page, flask.request.blueprints)  # noqa: SLF001  # errorhandler(503)
    response = app.make_response(app.ensure_sync(handler)(page) if handler is not None else page)
    response.headers["Cache-Control"] = "no-store"
    if isinstance(error, StoreUnavailableError):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _give_up() -> None:
    session = cast("LocalProxy[SessionMixin]", flask.session)._get_current_object()  # noqa: SLF001
    if isinstance(session, FlaskSession):
        session.give_up()
