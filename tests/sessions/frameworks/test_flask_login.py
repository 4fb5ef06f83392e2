"""Flask-Login binds and revokes the user without a line of code."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, flash, get_flashed_messages, request, session
from flask_login import (
    LoginManager,
    UserMixin,
    confirm_login,
    current_user,
    fresh_login_required,
    login_fresh,
    login_required,
    login_user,
    logout_user,
)

from limpet.sessions import LoginNotFreshError, Sessions
from limpet.sessions.flask import LimpetSessions

if TYPE_CHECKING:
    from flask.testing import FlaskClient

SECRET = "a secret for tests that is long enough"
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


class User(UserMixin):
    def __init__(self, id_: str) -> None:
        self.id = id_


def make_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(TESTING=True, SECRET_KEY=SECRET, **config)
    LimpetSessions(app, store="memory://")
    manager = LoginManager(app)
    manager.user_loader(lambda id_: User(id_) if id_ != "nobody" else None)

    add_logins(app)
    add_pages(app)
    return app


def add_logins(app: Flask) -> None:
    @app.get("/login/<user>")
    def login(user: str) -> str:
        login_user(User(user), remember="remember" in request.args, duration=timedelta(days=3))
        return "ok"

    @app.get("/logout")
    def logout() -> str:
        logout_user()
        flash("good bye")
        return "ok"

    @app.get("/confirm")
    def confirm() -> str:
        confirm_login()
        return "ok"


def add_pages(app: Flask) -> None:
    @app.get("/who")
    def who() -> dict[str, Any]:
        return {
            "user": current_user.get_id(),
            "bound": session.user_id,  # type: ignore[attr-defined]
            "fresh": login_fresh(),
            "messages": get_flashed_messages(),
        }

    @app.get("/put/<name>")
    def put(name: str) -> str:
        session[name] = 1
        return "ok"

    @app.get("/fields")
    def fields() -> list[str]:
        return sorted(session)

    @app.get("/private")
    @login_required
    def private() -> str:
        return "private"

    @app.get("/fresh")
    @fresh_login_required
    def fresh() -> str:
        return "fresh"

    @app.get("/pay")
    def pay() -> str:
        session.require_fresh(300)  # type: ignore[attr-defined]
        return "paid"

    @app.errorhandler(LoginNotFreshError)
    def ask_again(_error: LoginNotFreshError) -> tuple[str, int]:
        return "password, please", 403


@pytest.fixture
def app() -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def sessions(app: Flask) -> Sessions:
    found: Sessions = app.extensions["limpet_sessions"].sessions
    return found


def value(client: FlaskClient) -> str:
    cookie = client.get_cookie("session")
    assert cookie is not None
    return cookie.value


def who(client: FlaskClient, **options: Any) -> Any:
    return client.get("/who", **options).json


def test_a_login_is_listed_and_has_a_new_id(client: FlaskClient, sessions: Sessions) -> None:
    client.get("/put/cart")
    before = value(client)
    client.get("/login/7", headers={"User-Agent": "Phone/1"}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert value(client) != before
    assert client.get("/fields").json == ["_fresh", "_id", "_user_id", "cart"]
    (listed,) = sessions.list_user("7")
    assert (listed.device, listed.address) == ("Phone/1", "192.0.2.7")
    client.set_cookie("session", before)
    assert client.get("/fields").json == []


def test_a_logout_ends_the_session_and_keeps_the_message(client: FlaskClient, sessions: Sessions) -> None:
    client.get("/login/7")
    old = value(client)
    client.get("/logout")
    assert sessions.list_user("7") == []
    assert value(client) != old
    assert who(client) == {"user": None, "bound": None, "fresh": False, "messages": ["good bye"]}
    client.set_cookie("session", old)
    assert who(client)["user"] is None


def test_a_logout_that_leaves_nothing_clears_the_cookie(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/out", view_func=lambda: str(logout_user()))
    client.get("/login/7")
    client.get("/out")
    assert client.get_cookie("session") is None


def test_revoked_users_are_out_at_their_next_request(
    app: Flask, client: FlaskClient, sessions: Sessions
) -> None:
    other = app.test_client()
    for each in (client, other):
        each.get("/login/7")
    assert len(sessions.list_user("7")) == 2
    sessions.revoke_session("7", sessions.list_user("7")[0].reference)
    assert sorted(each.get("/private").status_code for each in (client, other)) == [200, 401]
    sessions.revoke_user("7")
    assert [each.get("/private").status_code for each in (client, other)] == [401, 401]
    client.get("/login/7")
    assert client.get("/private").status_code == 200


def test_another_user_gets_nothing_of_the_first(client: FlaskClient, sessions: Sessions) -> None:
    client.get("/login/7")
    client.get("/put/secret")
    client.get("/login/8")
    assert client.get("/fields").json == ["_fresh", "_id", "_user_id"]
    assert who(client) == {"user": "8", "bound": "8", "fresh": True, "messages": []}
    assert sessions.list_user("7") == []


def test_another_user_in_one_request(app: Flask, client: FlaskClient, sessions: Sessions) -> None:
    def switch() -> str:
        logout_user()
        login_user(User("8"))
        flash("you are 8 now")
        return "ok"

    app.add_url_rule("/switch", view_func=switch)
    client.get("/login/7")
    old = value(client)
    client.get("/switch")
    assert who(client) == {"user": "8", "bound": "8", "fresh": True, "messages": ["you are 8 now"]}
    assert (sessions.list_user("7"), len(sessions.list_user("8"))) == ([], 1)
    client.set_cookie("session", old)
    assert who(client)["user"] is None


def test_a_logout_and_login_of_the_same_user_in_one_request(
    app: Flask, client: FlaskClient, sessions: Sessions
) -> None:
    app.add_url_rule("/again", view_func=lambda: str(logout_user() and login_user(User("7"))))
    client.get("/login/7")
    old = value(client)
    client.get("/again")
    assert value(client) != old
    assert who(client)["user"] == "7"
    assert len(sessions.list_user("7")) == 1


def test_remember_me_comes_back_in_as_a_new_session(client: FlaskClient, sessions: Sessions) -> None:
    response = client.get("/login/7?remember=1")
    assert sorted(each.split("=")[0] for each in response.headers.getlist("Set-Cookie")) == [
        "remember_token",
        "session",
    ]
    old = value(client)
    client.delete_cookie("session")
    assert who(client) == {"user": "7", "bound": "7", "fresh": False, "messages": []}
    assert value(client) != old
    assert len(sessions.list_user("7")) == 2
    assert client.get("/fresh").status_code == 401
    assert client.get("/pay").status_code == 403, "a remember-me cookie is no password"
    client.get("/logout")
    assert client.get_cookie("remember_token") is None
    assert who(client)["user"] is None


def test_confirm_login_is_a_login_with_a_new_id(client: FlaskClient, sessions: Sessions) -> None:
    client.get("/login/7?remember=1")
    client.delete_cookie("session")
    who(client)
    stale = value(client)
    client.get("/confirm")
    assert value(client) != stale
    assert client.get("/fresh").text == "fresh"
    assert client.get("/pay").text == "paid"
    client.set_cookie("session", stale)
    client.delete_cookie("remember_token")
    assert who(client)["user"] is None


def test_remember_me_of_a_user_who_is_gone(client: FlaskClient) -> None:
    client.get("/login/nobody?remember=1")
    client.delete_cookie("session")
    assert who(client)["user"] is None
    assert client.get("/private").status_code == 401


def test_remember_me_refreshed_at_each_request() -> None:
    client = make_app(REMEMBER_COOKIE_REFRESH_EACH_REQUEST=True).test_client()
    client.get("/login/7")
    response = client.get("/private")
    assert [each.split("=")[0] for each in response.headers.getlist("Set-Cookie")] == ["remember_token"]
    assert client.get("/fields").json == ["_fresh", "_id", "_user_id"]


ELSEWHERE = {"User-Agent": "Another/1"}


def test_basic_protection_makes_the_login_stale(client: FlaskClient, sessions: Sessions) -> None:
    client.get("/login/7")
    first = value(client)
    assert who(client, headers=ELSEWHERE)["fresh"] is False
    assert client.get("/private", headers=ELSEWHERE).status_code == 200
    assert client.get("/fresh", headers=ELSEWHERE).status_code == 401
    assert client.get("/pay", headers=ELSEWHERE).status_code == 403
    assert value(client) == first
    client.get("/confirm", headers=ELSEWHERE)
    assert client.get("/pay", headers=ELSEWHERE).status_code == 200
    assert len(sessions.list_user("7")) == 1


def test_strong_protection_ends_the_session() -> None:
    app = make_app(SESSION_PROTECTION="strong")
    sessions = app.extensions["limpet_sessions"].sessions
    client = app.test_client()
    client.get("/login/7?remember=1")
    client.get("/put/cart")
    old = value(client)
    assert client.get("/private", headers=ELSEWHERE).status_code == 401
    assert sessions.list_user("7") == []
    assert client.get("/fields", headers=ELSEWHERE).json == ["cart"]
    assert client.get_cookie("remember_token") is None
    client.set_cookie("session", old)
    assert client.get("/private").status_code == 401


def test_strong_protection_takes_a_permanent_session_as_basic() -> None:
    app = make_app(SESSION_PROTECTION="strong")
    app.add_url_rule("/stay", view_func=lambda: setattr(session, "permanent", True) or "ok")  # type: ignore[func-returns-value]
    client = app.test_client()
    client.get("/login/7")
    client.get("/stay")
    assert client.get("/private", headers=ELSEWHERE).status_code == 200


def test_unauthorized_keeps_next_and_its_message(app: Flask, client: FlaskClient) -> None:
    app.config["USE_SESSION_FOR_NEXT"] = True
    app.login_manager.login_view = "/login"  # type: ignore[attr-defined]
    assert client.get("/private").status_code == 302
    fields = client.get("/fields").json
    assert fields == ["_flashes", "_id", "next"]
    client.get("/login/7")
    assert client.get("/fields").json == ["_flashes", "_fresh", "_id", "_user_id", "next"]


def test_the_user_is_asked_of_the_store_once_a_request(app: Flask, client: FlaskClient) -> None:
    client.get("/login/7")
    sessions = app.extensions["limpet_sessions"].sessions
    trips = []
    real = sessions.store.run
    sessions.store.run = lambda operation: trips.append(operation) or real(operation)
    client.get("/private")
    assert len(trips) == 1


def test_flask_logins_own_test_client(app: Flask, client: FlaskClient) -> None:
    from flask_login import FlaskLoginClient

    app.test_client_class = FlaskLoginClient
    assert app.test_client(user=User("7")).get("/private").text == "private"
