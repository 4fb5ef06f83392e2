"""Application-based stickiness: it follows the application's cookie."""

import os

import pytest

from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness.app_cookie import MAX_LIFETIME_S, AppCookie
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)
START_S = 1_700_000_000


def kind(**settings):
    values = {"group": "web", "app_cookie": "sid", "duration_s": 0} | settings
    return AppCookie(StickinessSettings(**values), SEALING)


def request(cookie=b"", path=b"/", headers=()):
    return RequestHead(b"GET", path, FieldBlock(list(headers), cookie=cookie), "10.0.0.1")


def at(age_s):
    return Now(START_S + age_s, 0)


def bind(app_cookie, cookie, *set_cookies, target="A", age_s=0):
    """Send a request with a Cookie header, and return what limpet sets on its response."""
    asked = request(cookie)
    finding = app_cookie.find(asked, {}, at(age_s))
    response = ResponseHead(200, [(b"set-cookie", value) for value in set_cookies])
    return list(app_cookie.bind(asked, finding, target, response, at(age_s)).set_cookies)


def pin_of(set_cookie):
    return set_cookie.split(b";")[0]


def test_it_starts_when_a_target_sets_the_cookie():
    app_cookie = kind()
    assert bind(app_cookie, b"") == []
    assert bind(app_cookie, b"", b"other=1") == []
    (pin,) = bind(app_cookie, b"", b"other=1", b"sid=x; Path=/; HttpOnly")
    assert pin.startswith(b"limpet-app=1.")
    assert pin.endswith(b"; Path=/; HttpOnly")
    found = app_cookie.find(request(b"sid=x; " + pin_of(pin)), {}, at(5))
    assert (found.status, found.target_id) == (StickyStatus.FOUND, "A")


def test_the_pin_counts_only_together_with_the_cookie():
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x")
    assert app_cookie.find(request(pin_of(pin)), {}, at(1)).status is StickyStatus.APP_COOKIE_MISSING
    assert app_cookie.find(request(b"sid=x"), {}, at(1)).status is StickyStatus.ABSENT


def test_a_new_value_changes_nothing():
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x")
    found = app_cookie.find(request(b"sid=other; " + pin_of(pin)), {}, at(1))
    assert (found.status, found.target_id) == (StickyStatus.FOUND, "A")


@pytest.mark.parametrize(
    ("set_cookie", "tail", "lives_s"),
    [
        (b"sid=x; Max-Age=60", b"; Max-Age=60; Path=/; HttpOnly", 60),
        (
            b"sid=x; Expires=Tue, 14 Nov 2023 22:14:20 GMT",
            b"; Max-Age=60; Path=/; HttpOnly",
            60,
        ),
        (b"sid=x", b"; Path=/; HttpOnly", None),  # without SameSite, as browsers take it
        (b"sid=x; samesite=lax", b"; Path=/; HttpOnly; SameSite=lax", None),
        (b"sid=x; Secure; SameSite=None; Partitioned", b"; SameSite=None; Secure; Partitioned", None),
        (
            b"sid=x; Domain=shop.example; SameSite=None; Secure; Path=/app",
            b"; Path=/; HttpOnly; Domain=shop.example; SameSite=None; Secure",
            None,
        ),
    ],
)
def test_lifetime_and_scope_follow_the_cookie(set_cookie, tail, lives_s):
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", set_cookie)
    assert pin.endswith(tail)
    cookies = b"sid=x; " + pin_of(pin)
    if lives_s is None:
        assert app_cookie.find(request(cookies), {}, at(10**8)).status is StickyStatus.FOUND
    else:
        assert app_cookie.find(request(cookies), {}, at(lives_s - 1)).status is StickyStatus.FOUND
        assert app_cookie.find(request(cookies), {}, at(lives_s)).status is StickyStatus.EXPIRED


@pytest.mark.parametrize(
    "deletion",
    [b"sid=; Max-Age=0", b"sid=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", b"sid=x; Max-Age=-1; Path=/"],
)
def test_a_deletion_ends_it(deletion):
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x")
    (gone,) = bind(app_cookie, b"sid=x; " + pin_of(pin), deletion)
    assert gone.startswith(b"limpet-app=; Max-Age=0; Path=/")


def test_the_last_of_several_set_cookies_counts():
    app_cookie = kind()
    (gone,) = bind(app_cookie, b"", b"sid=x", b"sid=; Max-Age=0")
    assert b"Max-Age=0" in gone
    (pin,) = bind(app_cookie, b"", b"sid=; Max-Age=0", b"sid=x; Max-Age=9")
    assert b"; Max-Age=9" in pin


def test_a_renewed_cookie_renews_the_pin():
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x; Max-Age=60")
    (renewed,) = bind(app_cookie, b"sid=x; " + pin_of(pin), b"sid=x; Max-Age=60", age_s=50)
    found = app_cookie.find(request(b"sid=x; " + pin_of(renewed)), {}, at(100))
    assert found.status is StickyStatus.FOUND


def test_a_moved_session_keeps_what_is_left_of_its_life():
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x; Max-Age=60; Domain=shop.example")
    (moved,) = bind(app_cookie, b"sid=x; " + pin_of(pin), target="B", age_s=20)
    assert b"; Max-Age=40; Path=/; HttpOnly; Domain=shop.example" in moved
    found = app_cookie.find(request(b"sid=x; " + pin_of(moved)), {}, at(21))
    assert found.target_id == "B"


def test_nothing_is_set_while_nothing_changes():
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x; Max-Age=60")
    assert bind(app_cookie, b"sid=x; " + pin_of(pin), age_s=30) == []


def test_a_configured_duration_is_a_further_limit():
    (pin,) = bind(kind(), b"", b"sid=x")
    cookies = b"sid=x; " + pin_of(pin)
    assert kind(duration_s=30).find(request(cookies), {}, at(29)).status is StickyStatus.FOUND
    assert kind(duration_s=30).find(request(cookies), {}, at(30)).status is StickyStatus.EXPIRED


@pytest.mark.parametrize(
    ("pin", "status"),
    [
        (b"garbage", StickyStatus.MALFORMED),
        (b"1.AAAA", StickyStatus.TRUNCATED),
        (b"7.A", StickyStatus.UNKNOWN_VERSION),
    ],
)
def test_what_cannot_be_opened_has_its_status(pin, status):
    assert kind().find(request(b"sid=x; limpet-app=" + pin), {}, at(0)).status is status


def test_several_pins_and_pins_of_another_group():
    (pin,) = bind(kind(), b"", b"sid=x")
    twice = b"sid=x; " + pin_of(pin) + b"; " + pin_of(pin)
    assert kind().find(request(twice), {}, at(0)).status is StickyStatus.SEVERAL
    assert (
        kind(group="api").find(request(b"sid=x; " + pin_of(pin)), {}, at(0)).status
        is StickyStatus.OTHER_GROUP
    )


@pytest.mark.parametrize(
    "for_ever", [b"Max-Age=9999999999", b"Max-Age=" + b"9" * 40, b"Expires=Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_a_cookie_for_ever_is_followed_as_long_as_browsers_keep_it(for_ever):
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x; " + for_ever)
    assert b"; Max-Age=%d" % MAX_LIFETIME_S in pin
    cookies = b"sid=x; " + pin_of(pin)
    assert app_cookie.find(request(cookies), {}, at(MAX_LIFETIME_S - 1)).status is StickyStatus.FOUND
    assert app_cookie.find(request(cookies), {}, at(MAX_LIFETIME_S)).status is StickyStatus.EXPIRED


def test_a_configured_duration_slides():
    """An app may set its cookie once, at the login, and see its user every minute after that."""
    app_cookie = kind(duration_s=100)
    (pin,) = bind(app_cookie, b"", b"sid=x")
    sent = 0
    for age_s in range(5, 500, 5):
        cookies = b"sid=x; " + pin_of(pin)
        assert app_cookie.find(request(cookies), {}, at(age_s)).status is StickyStatus.FOUND
        for renewed in bind(app_cookie, cookies, age_s=age_s):
            pin, sent = renewed, sent + 1
    assert 40 <= sent <= 50  # once in a tenth of the duration


def made_private(app_cookie, cookie, *headers, age_s=0, target="A", asked=()):
    """Return whether a pin was set, and whether the response was made private for it."""
    sent = request(cookie, headers=asked)
    finding = app_cookie.find(sent, {}, at(age_s))
    binding = app_cookie.bind(sent, finding, target, ResponseHead(200, list(headers)), at(age_s))
    return bool(binding.set_cookies), binding.make_private


def test_a_login_is_always_followed_and_never_shared_by_a_cache():
    login = (b"set-cookie", b"sid=x")
    for header in ((b"cache-control", b"public"), (b"cache-control", b"max-age=60"), (b"vary", b"cookie")):
        assert made_private(kind(), b"", login, header) == (True, True)
    assert made_private(kind(), b"", login, (b"cache-control", b"no-store")) == (True, False)


@pytest.mark.parametrize(
    ("header", "asked", "expected"),
    [
        ((b"cache-control", b"max-age=60"), [], (False, False)),
        ((b"vary", b"cookie"), [], (True, True)),
        ((b"cache-control", b"private"), [], (True, False)),
        ((b"cache-control", b"private"), [(b"sec-fetch-dest", b"image")], (False, False)),
    ],
)
def test_a_moved_pin_is_sent_where_a_ticket_may_be(header, asked, expected):
    app_cookie = kind()
    (pin,) = bind(app_cookie, b"", b"sid=x")
    cookies = b"sid=x; " + pin_of(pin)
    assert made_private(app_cookie, cookies, header, target="B", asked=asked) == expected
