"""Who was logged out, and why: what an app's responses tell."""

import pytest

from limpet.core.active_sessions import ActiveSession
from limpet.core.address import Address
from limpet.core.logouts import suspect
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.session_state import SessionState
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.target import Target, TargetState

BOUND, MOVED = StickyStatus.BOUND, StickyStatus.MOVED
USER = SessionState(True, 3, "0123456789abcdef", has_user=True)
VISITOR = USER._replace(has_user=False)
UNTOUCHED = USER._replace(has_user=None, version=None)


def session(*, is_in=True):
    made = ActiveSession(b"k", TargetState(Target(id="A", address=Address(host="127.0.0.1", port=1))), 0.0)
    made.is_in = is_in
    return made


def look(one, path, status=200, *headers, method=b"GET", state=None, sticky=BOUND, cookie=b""):
    asked = RequestHead(method, path, FieldBlock([], cookie=cookie))
    return suspect(one, asked, ResponseHead(status, list(headers), state), sticky, 0.0)


def to(location):
    return (b"location", location)


@pytest.mark.parametrize(
    ("ended", "path", "sticky", "cause"),
    [
        ("logout", b"/bye", BOUND, "app_logout"),
        ("idle", b"/", BOUND, "expired"),
        ("absolute", b"/", MOVED, "expired"),
        ("lost", b"/", MOVED, "store_miss"),
        ("bad_signature", b"/", MOVED, "bad_signature"),
        ("unknown_key", b"/", BOUND, "bad_signature"),
        ("revoked", b"/", BOUND, "revoked"),
        ("", b"/", MOVED, "moved"),
        ("", b"/", StickyStatus.TARGET_GONE, "moved"),
        ("", b"/logout?next=/", BOUND, "app_logout"),
        ("", b"/", BOUND, "unknown"),
    ],
)
def test_a_session_layer_that_tells_is_believed(ended, path, sticky, cause):
    one = session()
    assert look(one, path, state=VISITOR._replace(ended=ended), sticky=sticky) == cause
    assert not one.is_in
    assert look(one, path, state=VISITOR, sticky=sticky) == ""  # once


def test_who_comes_in_is_in():
    one = session(is_in=False)
    assert look(one, b"/login", 303, to(b"/"), method=b"POST", state=USER) == ""
    assert one.is_in
    assert look(one, b"/", state=USER) == ""
    assert look(one, b"/static/a.css", state=UNTOUCHED) == ""
    assert one.is_in


@pytest.mark.parametrize(
    "path", [b"/login", b"/accounts/login/?next=/", b"/sign-in", b"/users/sign_in", b"/auth/token"]
)
def test_a_form_that_is_sent_on_is_a_login(path):
    one = session(is_in=False)
    look(one, path, 302, to(b"/home"), method=b"POST")
    assert one.is_in


def test_an_api_that_answers_a_login_has_one_user_more():
    one = session(is_in=False)
    look(one, b"/api/login", 200, (b"content-type", b"application/json"), method=b"POST")
    assert one.is_in


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [(b"content-type", b"text/html; charset=utf-8")]),  # the form again
        (401, []),
        (302, [to(b"/login?error=1")]),
        (500, []),
    ],
)
def test_a_login_that_failed_is_none(status, headers):
    one = session(is_in=False)
    assert look(one, b"/login", status, *headers, method=b"POST") == ""
    assert not one.is_in


@pytest.mark.parametrize(
    "location",
    [b"/login", b"/login?next=/cart", b"https://shop.example/accounts/login/", b"//id.example/sso/start"],
)
def test_a_user_who_is_sent_to_the_login_page_is_out(location):
    one = session()
    assert look(one, b"/cart", 302, to(location), sticky=MOVED) == "moved"
    assert not one.is_in
    assert look(one, b"/cart", 302, to(location), sticky=BOUND) == ""


@pytest.mark.parametrize(
    "location", [b"/blog/logins-explained", b"/author", b"/cart", b"https://login.example/"]
)
def test_other_redirects_are_none(location):
    one = session()
    assert look(one, b"/old", 302, to(location)) == ""
    assert one.is_in


def test_a_401_is_a_logout_of_whoever_was_in_and_of_nobody_else():
    assert look(session(), b"/api/me", 401) == "unknown"
    assert look(session(is_in=False), b"/api/me", 401) == ""


def test_the_user_asked_for_it():
    one = session()
    assert look(one, b"/logout", 302, to(b"/login"), method=b"POST") == "app_logout"
    assert not one.is_in


def test_a_session_cookie_that_another_server_replaces():
    new = (b"set-cookie", b"sessionid=new; Path=/")
    old = b"a=1; sessionid=old"
    assert look(session(), b"/", 200, new, sticky=MOVED, cookie=old, method=b"POST") == "moved"
    assert look(session(), b"/", 200, new, sticky=BOUND, cookie=old, method=b"POST") == ""  # renewed at home
    flask = (b"set-cookie", b"session=new; Path=/")
    assert look(session(), b"/", 200, flask, sticky=MOVED, cookie=b"session=old", method=b"POST") == ""
