"""Application-based stickiness: it follows the application's cookie."""

import os

import pytest

from limpet.core.clock import Now
from limpet.core.key_ring import KeyRing
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness.app_cookie import AppCookie
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings

SEALING = Sealing(KeyRing([b"k" * 32]), os.urandom)
START_S = 1_700_000_000


def kind(**settings):
    values = {"group": "web", "app_cookie": "sid", "duration_s": 0} | settings
    return AppCookie(StickinessSettings(**values), SEALING)


def request(cookie=b"", path=b"/"):
    return RequestHead(b"GET", path, FieldBlock([], cookie=cookie), "10.0.0.1")


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
    assert pin.endswith(b"; Path=/; HttpOnly; SameSite=Lax")
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
        (b"sid=x; Max-Age=60", b"; Max-Age=60; Path=/; HttpOnly; SameSite=Lax", 60),
        (
            b"sid=x; Expires=Tue, 14 Nov 2023 22:14:20 GMT",
            b"; Max-Age=60; Path=/; HttpOnly; SameSite=Lax",
            60,
        ),
        (b"sid=x", b"; Path=/; HttpOnly; SameSite=Lax", None),
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
    assert b"; Max-Age=40; Path=/; HttpOnly; Domain=shop.example; SameSite=Lax" in moved
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
