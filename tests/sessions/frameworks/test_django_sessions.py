"""What a session says, does and costs under Django: cookies, logins, lifetimes, outages, checks."""

from __future__ import annotations

import asyncio
import datetime as dt
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from io import StringIO
from typing import TYPE_CHECKING, Any

import django_project
import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.checks import Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils import timezone
from django_project import DJANGOS, asgi, wsgi
from overlap import Gate
from sites import Browser
from watched_store import WatchedStore

from limpet.sessions import Policy
from limpet.sessions.django import SessionMiddleware, SessionStore, sessions
from limpet.sessions.django.checks import check_settings, check_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sites import Answer

pytestmark = pytest.mark.usefixtures("django_users")
STOCK = {"MIDDLEWARE": django_project.middleware(DJANGOS)}
JSON = {"a": 1}


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


@pytest.fixture
def browser(store: WatchedStore) -> Iterator[Browser]:
    """A browser before the project with limpet's middleware."""
    with wsgi(LIMPET_SESSION_STORE=store) as site:
        yield Browser(site)


@pytest.fixture
def stock(store: WatchedStore) -> Iterator[Browser]:
    """A browser before the project with Django's own middleware."""
    with wsgi(LIMPET_SESSION_STORE=store, **STOCK) as site:
        yield Browser(site)


def cookie_of(answer: Answer) -> Any:
    (found,) = session_cookies(answer)
    return found


def has_cookie(answer: Answer) -> bool:
    return bool(session_cookies(answer))


def session_cookies(answer: Answer) -> list[Any]:
    jars = [SimpleCookie(line) for line in answer.values("set-cookie")]
    return [jar["sessionid"] for jar in jars if "sessionid" in jar]


def who(browser: Browser) -> Any:
    return browser.get("/state").json()["user"]


# What the browser is told.


def test_a_cookie_comes_with_a_new_session_and_not_again(browser: Browser) -> None:
    first = browser.get("/begin")
    assert cookie_of(first)["max-age"] == str(30 * 86400)
    assert first.values("cache-control") == ["no-store, private"]
    assert "Cookie" in first.values("vary")[0]
    for path in ("/write", "/state", "/nested"):
        answer = browser.get(path)
        assert not has_cookie(answer)
        assert "Cookie" in answer.values("vary")[0]
        assert answer.values("cache-control") == []
    assert browser.get("/untouched").values("vary") == []


def test_djangos_cookie_settings_rule(store: WatchedStore) -> None:
    changes = {
        "SESSION_COOKIE_NAME": "mine",
        "SESSION_COOKIE_DOMAIN": "example.org",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": False,
        "SESSION_COOKIE_SAMESITE": "Strict",
        "SESSION_EXPIRE_AT_BROWSER_CLOSE": True,
    }
    with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
        browser = Browser(site)
        (line,) = browser.get("/begin").values("set-cookie")
        morsel = SimpleCookie(line)["mine"]
        assert (morsel["domain"], morsel["path"], morsel["samesite"]) == ("example.org", "/", "Strict")
        assert (morsel["secure"], morsel["httponly"], morsel["max-age"]) == (True, "", "")
        assert browser.get("/state").json()["mine"] == 0


def test_both_names_are_read_after_a_change_of_name(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store, SESSION_COOKIE_NAME="before") as site:
        browser = Browser(site)
        browser.get("/login/1")
    changes = {"SESSION_COOKIE_NAME": "after", "LIMPET_SESSION_OLD_COOKIE_NAMES": ["before"]}
    with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
        browser.site = site
        assert who(browser) == "1"
        assert browser.get("/logout").status == 200
        assert "before" not in browser.cookies
        assert who(browser) is None


def test_a_login_moves_the_session_to_the_new_name(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store, SESSION_COOKIE_NAME="before") as site:
        browser = Browser(site)
        browser.get("/login/1")
    changes = {"SESSION_COOKIE_NAME": "after", "LIMPET_SESSION_OLD_COOKIE_NAMES": ["before"]}
    with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
        browser.site = site
        browser.get("/login/1")
        assert "before" not in browser.cookies
        assert "after" in browser.cookies
        assert who(browser) == "1"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"LIMPET_SECRET": None, "SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"LIMPET_SECRET": "short"}, "LIMPET_SECRET"),
    ],
)
def test_the_setting_of_a_short_secret_is_named(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], name: str
) -> None:
    monkeypatch.delenv("LIMPET_SECRET", raising=False)
    with (
        pytest.raises(ImproperlyConfigured, match=f"^{name}: a session secret needs at least 16"),
        wsgi(LIMPET_SESSION_STORE=store, **changes),
    ):
        pass


@pytest.mark.parametrize("cookie", ["abcdefgh", "1." + "A" * 123, "x"])
def test_a_foreign_cookie_stays_and_costs_nothing(store: WatchedStore, cookie: str) -> None:
    for changes in ({}, STOCK):
        with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
            browser = Browser(site, {"sessionid": cookie})
            answer = browser.get("/state")
            assert not has_cookie(answer)
    assert store.take() == []


def test_the_cookie_of_a_session_that_is_over_stays(browser: Browser, stock: Browser) -> None:
    browser.get("/login/1")
    sessions().revoke_user("1")
    for each in (browser, Browser(stock.site, dict(browser.cookies))):
        answer = each.get("/state")
        assert answer.json()["user"] is None
        assert not has_cookie(answer)


def test_logout_deletes_the_cookie_even_of_a_failing_response(browser: Browser) -> None:
    browser.get("/login/1")
    twin = browser.twin()
    answer = browser.get("/logout-and-fail")
    assert answer.status == 500
    assert "sessionid" not in browser.cookies
    assert who(twin) is None


def test_a_failing_response_saves_nothing(browser: Browser) -> None:
    browser.get("/begin")
    assert browser.get("/fails").status == 500
    assert browser.get("/state").json()["mine"] == 0


def test_renewal_gives_the_next_cookie_and_parallel_requests_survive(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store) as site:
        browser = Browser(site)
        browser.get("/login/1")
        old = browser.twin()
    policy = Policy(renew_s=10.5, grace_s=10.0)
    with wsgi(LIMPET_SESSION_STORE=store, LIMPET_SESSION_POLICY=policy) as site:
        browser.site = old.site = site
        later = time.time() + 11
        sessions().now_s = lambda: later
        answer = browser.get("/state")
        assert cookie_of(answer).value != old.cookies["sessionid"]
        assert answer.values("cache-control") == ["no-store, private"]
        assert who(browser) == "1"
        assert who(old) == "1"
        assert old.cookies == browser.cookies


ROTATED = {
    "SECRET_KEY": "the second secret of this test",
    "SECRET_KEY_FALLBACKS": ["the first secret of this test"],
}


def test_a_secret_on_its_way_out_lets_parallel_requests_through(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store, SECRET_KEY="the first secret of this test") as site:
        browser = Browser(site)
        browser.get("/login/1")
    with wsgi(LIMPET_SESSION_STORE=store, **ROTATED) as site:
        browser.site = site
        before, late, old = dict(browser.cookies), browser.twin(), browser.twin()
        now_s = time.time()
        sessions().now_s = lambda: now_s  # a cookie says in which second it was made
        gate = django_project.new_gate()
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(late.get, "/slow-user")
            try:
                gate.wait_reached()
                assert who(browser) == "1"
            finally:
                gate.open()
            assert slow.result(20).json() == {"user": "1"}
        assert who(old) == "1"
        assert browser.cookies == late.cookies == old.cookies != before
    with wsgi(LIMPET_SESSION_STORE=store, SECRET_KEY=ROTATED["SECRET_KEY"]) as site:
        browser.site = site
        assert who(browser) == "1"


def test_a_change_of_password_with_an_old_secret_kills_the_old_id(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store, SECRET_KEY="the first secret of this test") as site:
        browser = Browser(site)
        browser.get("/login/1")
    with wsgi(LIMPET_SESSION_STORE=store, **ROTATED) as site:
        browser.site = site
        old = browser.twin()
        browser.request("PUT", "/password")
        assert (who(browser), who(old)) == ("1", None)


def test_limpets_own_secret_comes_before_djangos(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "a secret only for sessions"
    with override_settings(LIMPET_SESSION_STORE=store, LIMPET_SECRET=own):
        kept = SessionStore()
        kept["a"] = 1
        kept.save()
    monkeypatch.setenv("LIMPET_SECRET", own)
    with override_settings(LIMPET_SESSION_STORE=store, SECRET_KEY="quite another secret"):
        assert SessionStore(kept.session_key)["a"] == 1
    monkeypatch.delenv("LIMPET_SECRET")
    with override_settings(LIMPET_SESSION_STORE=store):
        assert "a" not in SessionStore(kept.session_key)


# Logins.


def test_a_login_binds_the_user_and_lists_the_device(browser: Browser) -> None:
    browser.get("/login/1", user_agent="Firefox")
    (listed,) = sessions().list_user("1")
    assert (listed.device, listed.address) == ("Firefox", "192.0.2.7")
    other = Browser(browser.site)
    other.get("/login/1")
    assert len(sessions().list_user("1")) == 2
    sessions().revoke_session("1", listed.reference)
    assert (who(browser), who(other)) == (None, "1")
    sessions().revoke_user("1")
    assert who(other) is None


def test_a_login_may_name_the_device(store: WatchedStore) -> None:
    from django.contrib.auth import get_user_model, login

    request = RequestFactory().get("/")
    with override_settings(LIMPET_SESSION_STORE=store):
        request.session = SessionStore()
        login(request, get_user_model().objects.get(pk=1))
        request.session.limpet.login("1", device="Ann's phone")
        request.session.save()
        (listed,) = sessions().list_user("1")
        assert (listed.device, listed.reference) == ("Ann's phone", request.session.limpet.reference)


def test_a_second_login_of_the_same_user_gets_a_new_id(browser: Browser) -> None:
    browser.get("/login/1")
    old = browser.twin()
    browser.get("/login/1")
    assert browser.cookies != old.cookies
    assert (who(browser), who(old)) == ("1", None)


def test_a_login_of_another_user_takes_nothing_along(browser: Browser) -> None:
    browser.get("/login/1")
    browser.get("/write")
    browser.get("/login/2")
    assert browser.get("/state").json() == {"user": "2", "mine": None, "theirs": None}
    assert sessions().list_user("1") == []


def test_a_change_of_password_ends_the_other_sessions(browser: Browser) -> None:
    browser.get("/login/1")
    other = Browser(browser.site)
    other.get("/login/1")
    old = browser.twin()
    browser.get("/password")
    assert (who(browser), who(other), who(old)) == ("1", None, None)
    assert len(sessions().list_user("1")) == 1


def test_a_request_that_a_change_of_password_overtakes_ends_nothing(store: WatchedStore) -> None:
    # It read the session before, and the user's new password after: to Django the session is not
    # valid, so it flushes it, under an id that another request has replaced.
    for changes in ({}, STOCK):
        gate = django_project.new_gate()
        with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
            browser = Browser(site)
            browser.get("/login/1")
            late = browser.twin()
            before = dict(late.cookies)
            overtake(late, gate, browser)
            assert late.cookies == before
            assert who(browser) == "1"


def overtake(late: Browser, gate: Any, browser: Browser) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(late.get, "/slow-user")
        try:
            gate.wait_reached()
            browser.get("/password")
        finally:
            gate.open()
        assert slow.result(20).json() == {"user": None}


def test_the_key_is_known_as_soon_as_someone_looks(store: WatchedStore) -> None:
    with override_settings(LIMPET_SESSION_STORE=store):
        session = SessionStore()
        session["cart"] = 1
        assert session.session_key is None
        session.cycle_key()
        key = session.session_key
        assert SessionStore(key)["cart"] == 1
        session["cart"] = 2
        session.save()
        assert session.session_key == key
        session.create()
        assert session.session_key not in (None, key)
        assert not session.exists(key)
        assert session["cart"] == 2


def test_test_clients(store: WatchedStore) -> None:
    from django.contrib.auth import get_user_model

    user = get_user_model().objects.get(pk=1)
    with override_settings(LIMPET_SESSION_STORE=store):
        client = Client()
        client.force_login(user)
        assert client.get("/state").json()["user"] == "1"
        session = client.session
        session["mine"] = 7
        session.save()
        assert client.get("/state").json()["mine"] == 7
        client.logout()
        assert client.get("/state").json()["user"] is None
        assert client.login(username="user2", password=django_project.PASSWORD)
        assert client.get("/state").json()["user"] == "2"


def test_asynchronous_test_client(store: WatchedStore) -> None:
    from django.contrib.auth import get_user_model

    async def play() -> None:
        client = AsyncClient()
        await client.aforce_login(await get_user_model().objects.aget(pk=1))
        assert (await client.get("/async/state")).json()["user"] == "1"
        await client.alogout()
        assert (await client.get("/async/state")).json()["user"] is None

    with override_settings(LIMPET_SESSION_STORE=store):
        asyncio.run(play())


def test_csrf_tokens_and_messages_in_the_session(store: WatchedStore) -> None:
    changes = {
        "CSRF_USE_SESSIONS": True,
        "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
    }
    with override_settings(LIMPET_SESSION_STORE=store, **changes):
        client = Client(enforce_csrf_checks=True)
        page = client.get("/admin/login/").content.decode()
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        fields = {"username": "user1", "password": django_project.PASSWORD, "csrfmiddlewaretoken": token}
        assert client.post("/admin/login/?next=/admin/", fields).status_code == 302
        assert client.get("/admin/").status_code == 200
        assert "csrftoken" not in client.cookies


def test_an_error_page_that_needs_the_session(store: WatchedStore) -> None:
    # Django's own does, with CSRF tokens in the session: the exception comes out of its handler.
    changes = {"LIMPET_SESSION_STORE": store, "CSRF_USE_SESSIONS": True}
    with wsgi(**changes) as site:
        browser = Browser(site)
        browser.get("/login/1")
        store.is_down = True
        assert browser.get("/untouched").status == 503
    store.is_down = False
    with asgi(**changes) as asgi_site:
        browser.site = asgi_site
        store.is_down = True
        assert browser.get("/async/state").status == 503


# Lifetimes.


def expires_in_s(session: SessionStore) -> float:
    return session.limpet.expires_at_s - time.time()


def saved(value: Any) -> SessionStore:
    session = SessionStore()
    session["a"] = 1
    session.set_expiry(value)
    session.save()
    return session


def test_set_expiry(store: WatchedStore) -> None:
    with override_settings(LIMPET_SESSION_STORE=store):
        assert expires_in_s(saved(None)) == pytest.approx(14 * 86400 * 1.05, abs=5)
        assert expires_in_s(saved(1200)) == pytest.approx(1260, abs=5)
        in_an_hour = saved(timezone.now() + dt.timedelta(hours=1))
        assert expires_in_s(in_an_hour) == pytest.approx(3600, abs=5)
        in_an_hour.set_expiry(None)
        in_an_hour.save()
        assert expires_in_s(in_an_hour) == pytest.approx(14 * 86400 * 1.05, abs=5)
        assert expires_in_s(saved(dt.timedelta(days=90))) == pytest.approx(90 * 86400, abs=5)
        assert "a" not in SessionStore(saved(-5).session_key)
        with override_settings(SESSION_COOKIE_AGE=600):
            assert expires_in_s(saved(None)) == pytest.approx(630, abs=5)
        with override_settings(LIMPET_SESSION_POLICY="aal2"):
            assert saved(None).get_expiry_age() == 57 * 60
            assert expires_in_s(saved(None)) == pytest.approx(57 * 60 * 1.05, abs=5)


def middleware_answer(view: Callable[[Any], Any], cookie: str | None = None) -> Any:
    request = RequestFactory().get("/")
    if cookie is not None:
        request.COOKIES["sessionid"] = cookie

    def get_response(request: Any) -> HttpResponse:
        view(request.session)
        return HttpResponse()

    return SessionMiddleware(get_response)(request)


@pytest.mark.parametrize(
    ("value", "max_age"),
    [
        (None, 30 * 86400),
        (0, ""),
        (60, 30 * 86400),
        (dt.timedelta(hours=1), 3600),
        (dt.timedelta(days=90), 90 * 86400),
    ],
)
def test_the_cookie_lives_as_long_as_the_session_may(store: WatchedStore, value: Any, max_age: Any) -> None:
    def view(session: SessionStore) -> None:
        session["a"] = 1
        session.set_expiry(value)

    with override_settings(LIMPET_SESSION_STORE=store):
        cookie = middleware_answer(view).cookies["sessionid"]
        assert cookie["max-age"] == (max_age if max_age == "" else pytest.approx(max_age, abs=2))
        assert "a" in SessionStore(cookie.value)
        later = middleware_answer(lambda session: session.set_expiry(0), cookie.value)
        assert ("sessionid" in later.cookies) == (value != 0)


def test_every_request_counts_as_a_visit_if_django_says_so(store: WatchedStore) -> None:
    with wsgi(LIMPET_SESSION_STORE=store) as site:
        browser = Browser(site)
        browser.get("/begin")
    with wsgi(LIMPET_SESSION_STORE=store, SESSION_SAVE_EVERY_REQUEST=True) as site:
        browser.site = site
        for days, asked in ((0, ["Load"]), (0.9, ["Load", "Commit"])):
            later = time.time() + days * 86400
            sessions().now_s = lambda now_s=later: now_s
            store.take()
            answer = browser.get("/untouched")
            assert store.take() == asked
            assert "Cookie" in answer.values("vary")[0]


def test_clearsessions(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "sessions.db"
    with override_settings(LIMPET_SESSION_STORE=f"sqlite:///{path}"):
        saved(None)
        saved(-3600)
        call_command("clearsessions")
        with sqlite3.connect(path) as database:
            (left,) = database.execute("SELECT count(*) FROM limpet_sessions").fetchone()
        database.close()
        sessions().store.close()
    assert left == 1


# Outages.

LOUD = {"/state", "/begin", "/login/2", "/logout", "/rotate", "/nested"}


@pytest.mark.parametrize("path", sorted(LOUD))
def test_a_silent_store_is_503_and_no_cookie_changes(
    browser: Browser, store: WatchedStore, path: str
) -> None:
    browser.get("/login/1")
    before = dict(browser.cookies)
    store.is_down = True
    answer = browser.get(path)
    assert answer.status == 503
    assert answer.values("retry-after") == ["1"]
    assert answer.values("cache-control") == ["no-store, private"]
    assert not has_cookie(answer)
    assert browser.get("/untouched").status == 200
    store.is_down = False
    assert browser.cookies == before
    sessions().store._breakers.clear()
    assert who(browser) == "1"


@pytest.mark.parametrize("path", sorted(LOUD))
def test_with_djangos_middleware_it_is_500_and_no_cookie_changes(
    stock: Browser, store: WatchedStore, path: str
) -> None:
    stock.get("/login/1")
    before = dict(stock.cookies)
    store.is_down = True
    answer = stock.get(path)
    assert answer.status == 500
    store.is_down = False
    assert stock.cookies == before
    sessions().store._breakers.clear()
    assert who(stock) == "1"


@pytest.mark.parametrize("path", ["/async/state", "/async/begin", "/async/logout", "/async/login/2"])
def test_a_silent_store_in_an_event_loop(store: WatchedStore, path: str) -> None:
    with asgi(LIMPET_SESSION_STORE=store) as site:
        browser = Browser(site)
        browser.get("/async/login/1")
        before = dict(browser.cookies)
        store.is_down = True
        answer = browser.get(path)
        assert (answer.status, has_cookie(answer)) == (503, False)
        store.is_down = False
        assert browser.cookies == before
        sessions().store._breakers.clear()
        assert browser.get("/async/state").json()["user"] == "1"


def test_a_store_that_falls_silent_before_the_save(store: WatchedStore) -> None:
    def view(session: SessionStore) -> None:
        session["a"] = 2
        store.is_down = True

    with override_settings(LIMPET_SESSION_STORE=store):
        key = saved(None).session_key
        answer = middleware_answer(view, key)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert not answer.cookies
        store.is_down = False
        assert SessionStore(key)["a"] == 1


def test_a_middleware_that_meets_the_outage(store: WatchedStore) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    middleware = [*django_project.middleware(django_project.LIMPETS), required]
    with wsgi(LIMPET_SESSION_STORE=store, MIDDLEWARE=middleware) as site:
        store.is_down = True
        key = sessions().ring.sign(
            sessions().ring.new_id(user_key="", issued_s=1, ends_s=time.time() + 60, entropy=bytes)
        )
        answer = Browser(site, {"sessionid": key}).get("/untouched")
    assert answer.status == 503
    assert not has_cookie(answer)


# Requests that were overtaken.


def test_an_explicit_save_of_a_session_that_is_over(store: WatchedStore) -> None:
    with override_settings(LIMPET_SESSION_STORE=store):
        first = saved(None)
        second = SessionStore(first.session_key)
        second["b"] = 1
        first.flush()
        with pytest.raises(UpdateError):
            second.save()
        request = RequestFactory().get("/")
        answer = SessionMiddleware(lambda _: HttpResponse()).process_exception(request, UpdateError())
        assert answer.status_code == 409


# Cost.


def test_round_trips(browser: Browser, store: WatchedStore) -> None:
    def cost(path: str) -> list[str]:
        store.take()
        assert browser.get(path).status == 200
        return store.take()

    assert cost("/state") == []  # a visitor without a session
    assert cost("/login/1") == ["Create"]
    assert cost("/untouched") == []
    assert cost("/state") == ["Load"]
    assert cost("/write") == ["Load", "Commit"]
    assert cost("/write") == ["Load"]  # the same value again
    assert cost("/logout") == ["Load", "End"]
    assert cost("/begin") == ["Create"]
    assert cost("/login/1") == ["Load", "Create", "End"]
    assert cost("/login/2") == ["Load", "End", "Create"]
    assert cost("/rotate") == ["Load", "Create", "End"]


def test_nothing_blocks_an_event_loop(store: WatchedStore) -> None:
    store.is_async_only = True
    with asgi(LIMPET_SESSION_STORE=store) as site:
        browser = Browser(site)
        for path in ("begin", "login/1", "write", "rotate", "login/2", "state", "logout", "state"):
            assert browser.get(f"/async/{path}").status == 200
    assert store.take()


def test_others_are_served_while_the_store_lets_one_request_wait(store: WatchedStore) -> None:
    with asgi(LIMPET_SESSION_STORE=store) as site, ThreadPoolExecutor(1) as pool:
        browser = Browser(site)
        browser.get("/async/login/1")
        gate = store.gate = Gate()
        waits = pool.submit(browser.get, "/async/state")
        try:
            gate.wait_reached()
            assert Browser(site).get("/async/state").json()["user"] is None
            assert not waits.done()
        finally:
            gate.open()
        assert waits.result(20).json()["user"] == "1"


@pytest.mark.parametrize("changes", [{}, STOCK], ids=["limpets", "djangos"])
def test_changes_inside_values_are_saved(store: WatchedStore, changes: dict[str, Any]) -> None:
    with wsgi(LIMPET_SESSION_STORE=store, **changes) as site:
        browser = Browser(site)
        assert [browser.get("/nested").json()["apples"] for _ in range(3)] == [1, 2, 3]


def test_django_may_say_that_nothing_was_modified(store: WatchedStore) -> None:
    def view(session: SessionStore) -> None:
        session["a"] = 2
        session.modified = False

    with override_settings(LIMPET_SESSION_STORE=store):
        key = saved(None).session_key
        middleware_answer(view, key)
        assert SessionStore(key)["a"] == 1


# Settings.


def test_checks(store: WatchedStore) -> None:
    with override_settings(LIMPET_SESSION_STORE=store):
        assert check_settings() == []
        pickles = "django.contrib.sessions.serializers.PickleSerializer"
        with override_settings(SESSION_SERIALIZER=pickles, SESSION_SAVE_EVERY_REQUEST=True, **STOCK):
            found = check_settings()
        assert [(each.id, type(each)) for each in found] == [
            ("limpet.W002", CheckWarning),
            ("limpet.W003", CheckWarning),
        ]
        (in_memory,) = check_store()
        assert in_memory.id == "limpet.S101"
        assert in_memory.hint
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
            assert check_settings() == check_store() == []
    with override_settings(LIMPET_SESSION_STORE="nonsense://"):
        (bad,) = check_settings()
        assert isinstance(bad, Error)
        assert bad.id == "limpet.E001"
        assert check_store() == []


def test_manage_py_check_asks_the_store_before_a_deployment(store: WatchedStore) -> None:
    with override_settings(LIMPET_SESSION_STORE=store, SESSION_SERIALIZER="a.Pickler"):
        output = StringIO()
        call_command("check", stderr=output, fail_level="CRITICAL")
        assert "limpet.W002" in output.getvalue()
        assert "limpet.S101" not in output.getvalue()
        call_command("check", deploy=True, stderr=output, fail_level="CRITICAL")
        assert "limpet.S101" in output.getvalue()


def test_no_store_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMPET_SESSION_STORE", raising=False)
    with (
        override_settings(LIMPET_SESSION_STORE=None),
        pytest.raises(ImproperlyConfigured, match="LIMPET_SESSION_STORE"),
    ):
        SessionMiddleware(lambda _: HttpResponse())


def test_a_cookie_that_browsers_would_refuse_is_said_at_the_start() -> None:
    changes = {"LIMPET_SESSION_STORE": "memory://", "SESSION_COOKIE_NAME": "__Host-sessionid"}
    with override_settings(**changes), pytest.raises(ImproperlyConfigured, match="Secure"):
        SessionMiddleware(lambda _: HttpResponse())


def test_the_middleware_leaves_other_engines_alone(store: WatchedStore) -> None:
    engine = "django.contrib.sessions.backends.signed_cookies"
    with wsgi(LIMPET_SESSION_STORE=store, SESSION_ENGINE=engine) as site:
        browser = Browser(site)
        browser.get("/begin")
        assert browser.get("/state").json()["mine"] == 0
    with asgi(LIMPET_SESSION_STORE=store, SESSION_ENGINE=engine) as asgi_site:
        browser = Browser(asgi_site)
        browser.get("/async/begin")
        assert browser.get("/async/state").json()["mine"] == 0
    assert store.take() == []


def test_importing_it_imports_no_other_framework() -> None:
    code = (
        "import sys, limpet.sessions.django; "
        "print({'flask', 'starlette', 'werkzeug', 'fastapi', 'uvloop'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
