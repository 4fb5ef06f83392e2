"""Sessions under Flask: the session object, the cookie, and everywhere Flask lets one touch it."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    after_this_request,
    flash,
    get_flashed_messages,
    render_template_string,
    session,
    stream_with_context,
)
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from markupsafe import Markup
from watched_store import is_note

from limpet.errors import ConfigError, KeyRingError
from limpet.sessions import AAL2, CookieSettings, LoginNotFreshError, Sessions
from limpet.sessions.flask import FlaskSession, LimpetSessions
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret for tests that is long enough"


class Counting(MemoryStore):
    """A store that counts its round trips."""

    def __init__(self) -> None:
        super().__init__()
        self.trips = 0

    def run(self, operation: Any) -> Any:
        self.trips += not is_note(operation)
        return super().run(operation)


@pytest.fixture
def store() -> Counting:
    return Counting()


def make_app(store: Any, **options: Any) -> Flask:
    app = Flask(__name__)
    app.testing = True
    LimpetSessions(app, store=store, secret=SECRET, **options)

    @app.get("/untouched")
    def untouched() -> str:
        return "ok"

    @app.get("/read")
    def read() -> dict[str, Any]:
        return dict(session)

    @app.get("/set/<name>/<value>")
    def set_(name: str, value: str) -> str:
        session[name] = value
        return "ok"

    @app.get("/clear")
    def clear() -> str:
        session.clear()
        return "ok"

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session.login(user)  # type: ignore[attr-defined]
        return "ok"

    return app


@pytest.fixture
def app(store: Counting) -> Flask:
    return make_app(store)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def cookies(response: TestResponse) -> list[str]:
    return response.headers.getlist("Set-Cookie")


def view(app: Flask, function: Callable[[], Any]) -> Callable[[], Any]:
    app.add_url_rule("/view", view_func=function, methods=["GET", "POST"])
    return function


# Cost and headers.


def test_round_trips(client: FlaskClient, store: Counting) -> None:
    def trips(path: str) -> int:
        before = store.trips
        assert client.get(path).status_code == 200
        return store.trips - before

    assert trips("/untouched") == 0
    assert trips("/read") == 0, "a visitor without a cookie"
    assert trips("/set/a/1") == 1
    assert trips("/untouched") == 0
    assert trips("/read") == 1
    assert trips("/set/a/1") == 1, "the same value again is no change"
    assert trips("/set/a/2") == 2


def test_headers_of_each_kind_of_request(client: FlaskClient) -> None:
    response = client.get("/untouched")
    assert "Vary" not in response.headers
    response = client.get("/read")
    assert response.headers["Vary"] == "Cookie"
    assert not cookies(response)
    response = client.get("/set/a/1")
    assert len(cookies(response)) == 1
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cache-Control"] == "no-store"
    for path in ("/read", "/set/a/2"):
        response = client.get(path)
        assert not cookies(response)
        assert response.headers["Vary"] == "Cookie"
        assert "Cache-Control" not in response.headers
    assert "Vary" not in client.get("/untouched").headers


@pytest.mark.parametrize("look", [lambda: "x" in session, lambda: len(session), lambda: bool(session)])
def test_every_look_varies(app: Flask, look: Callable[[], Any]) -> None:
    """CVE-2023-30861, CVE-2026-27205: `in` and `len` missed."""
    view(app, lambda: str(look()))
    assert app.test_client().get("/view").headers["Vary"] == "Cookie"


def test_no_store_replaces_what_the_view_says(app: Flask) -> None:
    def cached() -> Response:
        session["a"] = 1
        response = Response("ok")
        response.cache_control.public = True
        response.cache_control.max_age = 3600
        response.vary.add("Accept")
        response.headers["CDN-Cache-Control"] = "max-age=60"
        return response

    view(app, cached)
    response = app.test_client().get("/view")
    assert response.headers["Cache-Control"] == "no-store"
    assert "CDN-Cache-Control" not in response.headers
    assert response.headers["Vary"] == "Accept, Cookie"


def test_several_cookies_of_one_name(app: Flask, client: FlaskClient) -> None:
    """A sibling domain can add one (cookie tossing), as can another path."""
    client.get("/set/a/1")
    cookie = client.get_cookie("session")
    assert cookie is not None
    sent = f"session=planted; session={cookie.value}; session=also"
    with app.test_client(use_cookies=False) as other:
        assert other.get("/read", headers={"Cookie": sent}).json == {"a": "1"}


# The session object.


def test_flask_finds_what_it_expects_of_a_session(app: Flask) -> None:
    def look() -> str:
        real = session._get_current_object()  # type: ignore[attr-defined]
        assert isinstance(real, FlaskSession)
        assert isinstance(real, SessionMixin)
        assert session.new
        assert not session.modified
        assert not session.permanent
        session["a"] = 1
        assert session.modified
        assert session.accessed
        session.modified = True
        return "ok"

    view(app, look)
    assert app.test_client().get("/view").text == "ok"


def test_saying_modified_does_no_harm(app: Flask, client: FlaskClient, store: Counting) -> None:
    def say() -> str:
        session.modified = True
        return "ok"

    view(app, say)
    assert not cookies(client.get("/view"))
    client.get("/set/a/1")
    before = store.trips
    assert not cookies(client.get("/view"))
    assert store.trips == before


def test_nested_changes_are_saved(app: Flask, client: FlaskClient) -> None:
    view(app, lambda: str(session.setdefault("cart", {"apples": []})["apples"].append(1)))
    for _ in range(3):
        client.get("/view")
    assert client.get("/read").json == {"cart": {"apples": [1, 1, 1]}}


def test_flash(app: Flask, client: FlaskClient) -> None:
    def messages() -> str:
        text = "; ".join(get_flashed_messages())
        flash("hello")
        flash("again")
        return text

    view(app, messages)
    assert client.get("/view").text == ""
    assert client.get("/view").text == "hello; again"


def test_flashed_markup_stays_markup(app: Flask, client: FlaskClient) -> None:
    view(app, lambda: render_template_string("{% for m in get_flashed_messages() %}{{ m }}{% endfor %}"))

    @app.get("/flash")
    def flash_two() -> str:
        flash(Markup("<b>bold</b>"))
        flash("<b>plain</b>")
        return "ok"

    client.get("/flash")
    assert client.get("/view").text == "<b>bold</b>&lt;b&gt;plain&lt;/b&gt;"


def test_clear_ends_the_session_and_its_cookie(client: FlaskClient, app: Flask) -> None:
    client.get("/set/a/1")
    old = client.get_cookie("session")
    assert old is not None
    assert "Max-Age=0" in cookies(client.get("/clear"))[0]
    other = app.test_client()
    other.set_cookie("session", old.value)
    assert other.get("/read").json == {}


def test_clear_and_fill_again_is_another_session(app: Flask, client: FlaskClient) -> None:
    """The login of Flask's own tutorial."""

    def tutorial() -> str:
        session.clear()
        session["user_id"] = 7
        return "ok"

    view(app, tutorial)
    client.get("/set/a/1")
    old = client.get_cookie("session")
    client.get("/view")
    new = client.get_cookie("session")
    assert old is not None
    assert new is not None
    assert old.value != new.value
    assert client.get("/read").json == {"user_id": 7}
    client.set_cookie("session", old.value)
    assert client.get("/read").json == {}


# The cookie.


def cookie_of(app: Flask) -> str:
    (cookie,) = cookies(app.test_client().get("/set/a/1"))
    return cookie.split("=", 1)[0] + ";" + cookie.split(";", 1)[1]


def test_the_cookie_is_as_flask_says_by_default(app: Flask) -> None:
    assert cookie_of(app) == "session; Path=/; HttpOnly; SameSite=Lax"


def test_the_cookie_follows_flasks_settings_even_late(app: Flask) -> None:
    app.config.update(
        SESSION_COOKIE_NAME="sid",
        SESSION_COOKIE_DOMAIN="example.com",
        SESSION_COOKIE_PATH="/app",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="none",
        SESSION_COOKIE_PARTITIONED=True,
    )
    assert cookie_of(app) == "sid; Path=/app; Domain=example.com; SameSite=None; Secure; Partitioned"
    assert app.session_interface.get_cookie_name(app) == "sid"


def test_a_cookie_path_is_the_application_root(app: Flask) -> None:
    app.config["APPLICATION_ROOT"] = "/shop"
    (cookie,) = cookies(app.test_client().get("/set/a/1"))
    assert "; Path=/shop;" in cookie


def test_a_cookie_that_browsers_refuse_is_refused_at_the_start(store: Counting) -> None:
    app = Flask(__name__)
    app.config["SESSION_COOKIE_SAMESITE"] = "None"
    with pytest.raises(ConfigError, match="Secure"):
        LimpetSessions(app, store=store, secret=SECRET)


def test_arguments_rule_over_settings(store: Counting) -> None:
    app = make_app(store, cookie=CookieSettings(), policy=AAL2)
    app.config["SESSION_COOKIE_NAME"] = "sid"
    assert cookie_of(app) == "__Host-limpet_session; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert "; Secure" in cookie_of(make_app(store, secure=True))


def test_the_environment_may_ask_for_secure(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SESSION_SECURE", "1")
    assert "; Secure" in cookie_of(make_app(store))
    monkeypatch.setenv("LIMPET_SESSION_SECURE", "0")
    app = make_app(store)
    app.config["SESSION_COOKIE_SECURE"] = True
    assert "; Secure" in cookie_of(app)


def test_after_a_change_of_name_both_names_are_read(store: Counting) -> None:
    client = make_app(store).test_client()
    client.get("/set/a/1")
    old = client.get_cookie("session")
    assert old is not None
    app = make_app(store, old_cookie_names=["session"])
    app.config["SESSION_COOKIE_NAME"] = "sid"
    client = app.test_client()
    client.set_cookie("session", old.value)
    assert client.get("/read").json == {"a": "1"}
    assert not cookies(client.get("/set/a/2"))
    client.get("/login/ann")
    new = client.get_cookie("sid")
    assert new is not None
    assert client.get_cookie("session") is None, "the session has moved to the new name"
    assert client.get("/read").json == {"a": "2"}


def test_a_short_secret_key_is_named(store: Counting) -> None:
    app = Flask(__name__)
    app.secret_key = "dev"
    with pytest.raises(KeyRingError, match=r"^SECRET_KEY: a session secret needs at least 16 characters"):
        LimpetSessions(app, store=store)
    app.config["SECRET_KEY_FALLBACKS"] = ["x" * 16]
    with pytest.raises(KeyRingError, match=r"^SECRET_KEY or SECRET_KEY_FALLBACKS: a session secret"):
        LimpetSessions(app, store=store)
    app.config["LIMPET_SECRET"] = "short"
    with pytest.raises(KeyRingError, match=r"^LIMPET_SECRET: a session secret"):
        LimpetSessions(app, store=store)


def test_a_cookie_of_flask_itself_opens_nothing_and_stays(app: Flask, client: FlaskClient) -> None:
    app.secret_key = "key of the app"
    signer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signer is not None
    value = signer.dumps({"_user_id": "1"})
    assert isinstance(value, str)
    client.set_cookie("session", value)
    response = client.get("/read")
    assert response.json == {}
    assert not cookies(response)


def test_permanent_decides_whether_the_cookie_outlives_the_browser(app: Flask, client: FlaskClient) -> None:
    def stay() -> str:
        session.permanent = True
        return str(session.permanent)

    view(app, stay)
    assert not cookies(client.get("/view")), "nothing is stored for visitors who store nothing"
    assert "Max-Age" not in cookies(client.get("/set/a/1"))[0]
    assert "Max-Age" in cookies(client.get("/view"))[0]
    assert not cookies(client.get("/view"))
    assert "Max-Age" in cookies(client.get("/login/ann"))[0], "a login keeps it"


def test_the_lifetime_of_flask_is_the_idle_timeout(app: Flask, client: FlaskClient) -> None:
    now_s = [1_800_000_000.0]
    app.extensions["limpet_sessions"].sessions.now_s = lambda: now_s[0]
    app.permanent_session_lifetime = timedelta(days=60)
    client.get("/set/a/1")
    for _ in range(2):
        now_s[0] += 20 * 86400
        assert client.get("/read").json == {"a": "1"}
    app.permanent_session_lifetime = timedelta(minutes=5)
    client = app.test_client()
    client.get("/set/a/1")
    now_s[0] += 300
    assert client.get("/read").json == {"a": "1"}
    now_s[0] += 600
    assert client.get("/read").json == {}


# Where Flask lets one touch the session.


def test_session_transaction(client: FlaskClient) -> None:
    with client.session_transaction() as opened:
        opened["a"] = [1]
    assert client.get("/read").json == {"a": [1]}
    with client.session_transaction() as opened:
        opened["a"].append(2)
        assert opened.permanent is False
    assert client.get("/read").json == {"a": [1, 2]}


def test_a_client_that_keeps_the_context_sees_the_session(client: FlaskClient) -> None:
    with client:
        client.get("/set/a/1")
        assert session["a"] == "1"
        client.get("/untouched")
        assert session["a"] == "1"


def test_hooks_before_and_after_a_request(app: Flask, client: FlaskClient) -> None:
    @app.before_request
    def before() -> str | None:
        session["before"] = session.get("before", 0) + 1
        return "early" if session["before"] == 2 else None

    @app.after_request
    def after(response: Response) -> Response:
        session["after"] = session.get("after", 0) + 1
        return response

    def also() -> str:
        @after_this_request
        def after_this(response: Response) -> Response:
            session["this"] = True
            return response

        return "view"

    view(app, also)
    assert client.get("/view").text == "view"
    assert client.get("/view").text == "early"
    assert client.get("/read").json == {"before": 3, "after": 2, "this": True}


def test_error_handlers_and_failing_views(app: Flask, client: FlaskClient) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False

    def fail() -> str:
        session["tries"] = session.get("tries", 0) + 1
        raise ValueError

    @app.errorhandler(500)
    def page(_error: Exception) -> tuple[str, int]:
        session["pages"] = session.get("pages", 0) + 1
        return f"try {session['tries']}", 500

    view(app, fail)
    assert client.get("/view").text == "try 1"
    response = client.get("/view")
    assert (response.status_code, response.text) == (500, "try 2")
    assert client.get("/read").json == {"tries": 2, "pages": 2}


def test_blueprints(app: Flask, client: FlaskClient) -> None:
    shop = Blueprint("shop", __name__, url_prefix="/shop")

    @shop.before_request
    def count() -> None:
        session.incr("visits")  # type: ignore[attr-defined]

    @shop.get("/")
    def index() -> str:
        return str(session["visits"])

    app.register_blueprint(shop)
    assert [client.get("/shop/").text for _ in range(3)] == ["1", "2", "3"]


def test_templates(app: Flask, client: FlaskClient) -> None:
    view(app, lambda: render_template_string("hello {{ session.name }}"))
    client.get("/set/name/ann")
    response = client.get("/view")
    assert response.text == "hello ann"
    assert response.headers["Vary"] == "Cookie"


def test_a_template_without_session_does_not_vary(app: Flask, client: FlaskClient) -> None:
    view(app, lambda: render_template_string("hello"))
    assert "Vary" not in client.get("/view").headers


def test_async_views(app: Flask, client: FlaskClient) -> None:
    async def count() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    view(app, count)
    assert [client.get("/view").text for _ in range(3)] == ["1", "2", "3"]


def test_streams_read_the_session(app: Flask, client: FlaskClient) -> None:
    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield "hello "
            yield session["name"]

        return Response(stream_with_context(parts()))

    view(app, stream)
    client.get("/set/name/ann")
    response = client.get("/view")
    assert response.text == "hello ann"
    assert response.headers["Vary"] == "Cookie"


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_change_after_the_headers_is_told(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture, is_nested: bool
) -> None:
    def stream() -> Response:
        session["early"] = [1]
        early = session["early"]

        def parts() -> Iterator[str]:
            yield "hello"
            if is_nested:
                early.append(2)
            else:
                session["late"] = 1

        return Response(stream_with_context(parts()))

    view(app, stream)
    with client.get("/view") as response:
        assert response.text == "hello"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert ("'early'" if is_nested else "'late'") in told[0]
    assert client.get("/read").json == {"early": [1]}


def test_nothing_is_told_when_nothing_was_lost(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    def stream() -> Response:
        session["early"] = [1]
        session["twice"] = {"a": 1}

        def parts() -> Iterator[str]:
            yield str(session["early"])

        return Response(stream_with_context(parts()))

    view(app, stream)
    with client.get("/view") as response:
        assert response.text == "[1]"
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


def test_a_change_in_teardown_is_told(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.teardown_request
    def late(_error: BaseException | None) -> None:
        session["late"] = 1

    with client.get("/untouched"):
        pass
    assert "'late'" in caplog.text


# Logins without Flask-Login.


def test_login_lists_revokes_and_tires(app: Flask, client: FlaskClient) -> None:
    def pay() -> str:
        session.require_fresh(300)  # type: ignore[attr-defined]
        return "paid"

    view(app, pay)
    sessions = app.extensions["limpet_sessions"].sessions
    with pytest.raises(LoginNotFreshError):
        client.get("/view")
    client.get("/set/a/1")
    before = client.get_cookie("session")
    client.get("/login/ann", headers={"User-Agent": "Phone/1"})
    after = client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert client.get("/read").json == {"a": "1"}
    assert client.get("/view").text == "paid"
    (listed,) = sessions.list_user("ann")
    assert (listed.device, listed.address) == ("Phone/1", "127.0.0.1")
    sessions.revoke_user("ann")
    response = client.get("/read")
    assert response.json == {}
    assert not cookies(response)


def test_a_device_finds_itself_in_the_list(app: Flask, client: FlaskClient) -> None:
    view(app, lambda: session.reference)  # type: ignore[attr-defined]
    assert client.get("/view").text == ""
    client.get("/login/ann")
    (listed,) = app.extensions["limpet_sessions"].sessions.list_user("ann")
    assert client.get("/view").text == listed.reference


def test_an_app_keeps_the_user_in_a_field_of_its_own(store: Counting) -> None:
    app = make_app(store, user_field="user")
    view(app, lambda: session.update(user=None) or "ok")  # type: ignore[func-returns-value]
    sessions, client = app.extensions["limpet_sessions"].sessions, app.test_client()
    client.get("/set/user/ann")
    assert len(sessions.list_user("ann")) == 1
    client.get("/set/a/1")
    client.get("/view")
    assert sessions.list_user("ann") == []
    assert client.get("/read").json == {"user": None, "a": "1"}
    client.get("/set/user/bob")
    client.get("/clear")
    assert sessions.list_user("bob") == []


# Switching on.


def test_factories_and_several_apps(store: Counting) -> None:
    extension = LimpetSessions(store=store, secret=SECRET)
    apps = [Flask("one"), Flask("two")]
    for app in apps:
        app.config["SESSION_COOKIE_NAME"] = app.name
        extension.init_app(app)
        view(app, lambda: str(session.setdefault("who", 1)))
        (cookie,) = cookies(app.test_client().get("/view"))
        assert cookie.startswith(f"{app.name}=")
    with pytest.raises(RuntimeError):
        _ = extension.sessions
    with apps[0].app_context():
        one = extension.sessions
    with apps[1].app_context():
        assert extension.sessions is not one


def test_the_last_one_wins(app: Flask, store: Counting) -> None:
    extension = LimpetSessions(app, secret=SECRET, store="memory://")
    assert extension.sessions is app.extensions["limpet_sessions"].sessions
    app.test_client().get("/set/a/1")
    assert store.trips == 0


def test_shared_sessions_keep_their_cookie(store: Counting) -> None:
    sessions = Sessions(store, secret=SECRET, secure=False)
    app = Flask(__name__)
    LimpetSessions(app, sessions=sessions)
    view(app, lambda: str(session.setdefault("a", 1)))
    assert cookies(app.test_client().get("/view"))[0].startswith("limpet_session=")
    with pytest.raises(TypeError):
        LimpetSessions(app, sessions=sessions, secure=True)


def test_store_and_secret_come_from_the_nearest_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMPET_SECRET", raising=False)
    monkeypatch.delenv("LIMPET_SESSION_STORE", raising=False)

    def key_id(**config: Any) -> bytes:
        app = Flask(__name__)
        app.config.update(config)
        return LimpetSessions(app).sessions.ring._newest_id

    def expected(*secrets: str) -> bytes:
        return Sessions("memory://", secret=secrets).ring._newest_id

    with pytest.raises(ConfigError, match="store"):
        key_id(SECRET_KEY=SECRET)
    with pytest.raises(ConfigError, match="secret"):
        key_id(LIMPET_SESSION_STORE="memory://")
    flasks = {"SECRET_KEY": SECRET, "SECRET_KEY_FALLBACKS": ["an old secret key of the app"]}
    assert key_id(LIMPET_SESSION_STORE="memory://", **flasks) == expected(SECRET)
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    monkeypatch.setenv("LIMPET_SECRET", "one secret of the environment")
    assert key_id(**flasks) == expected("one secret of the environment")
    ours = "one secret of the app, another secret of the app"
    assert key_id(LIMPET_SECRET=ours, **flasks) == expected("one secret of the app")


def test_findings_are_logged_once(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "limpet.sessions")
    client = app.test_client()
    client.get("/untouched")
    client.get("/untouched")
    app.extensions["limpet_sessions"].sessions.close()
    assert caplog.text.count("S101") == 1


@pytest.mark.parametrize(
    ("secure", "variable", "is_told"), [("", "", True), ("1", "", False), ("", "0", False)]
)
def test_a_cookie_for_http_is_told(
    store: Counting,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    secure: str,
    variable: str,
    is_told: bool,
) -> None:
    monkeypatch.setenv("LIMPET_SESSION_SECURE", variable)
    app = make_app(store)
    app.testing = False
    app.config["SESSION_COOKIE_SECURE"] = bool(secure)
    for _ in range(2):
        app.test_client().get("/untouched")
    assert caplog.text.count("SESSION_COOKIE_SECURE") == int(is_told)


def test_importing_it_imports_no_other_framework() -> None:
    others = {"django", "starlette", "litestar", "flask_login", "uvloop"}
    code = f"import sys, limpet.sessions.flask; print({others} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
