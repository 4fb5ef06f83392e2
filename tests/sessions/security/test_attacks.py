"""Attacks on the session layer, over every framework."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from doors import SECRET, who

from limpet.sessions import Policy, Sessions, UnsupportedValueError
from limpet.sessions.session_id import SessionId

if TYPE_CHECKING:
    from doors import Door


def logged_in(door: Door, user: str = "1") -> Any:
    browser = door.browser()
    browser.get(f"/login/{user}")
    assert who(browser) == user
    return browser


def tampered(value: str) -> str:
    return value[:-3] + ("AAA" if value[-3:] != "AAA" else "BBB")


# Cookies from elsewhere: another path, a sibling domain.


@pytest.mark.parametrize("tossed", ["x", "", "1." + "A" * 123, "tampered", "of another secret"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_tossed_cookie_logs_nobody_out(door: Door, tossed: str, *, is_first: bool) -> None:
    own = logged_in(door).cookies[door.name]
    if tossed == "tampered":
        tossed = tampered(own)
    if tossed == "of another secret":
        other = Sessions("memory://", secret="an attacker's own secret")
        session = other.open(None)
        session.login("1")
        tossed = dict(other.save(session))["Set-Cookie"].partition("=")[2].partition(";")[0]
    pairs = [f"{door.name}={value}" for value in ((tossed, own) if is_first else (own, tossed))]
    for header in ("; ".join(pairs), "; ".join(["a=1", *pairs, "b=2"])):
        answer = door.raw("/state", header)
        assert answer.json()["user"] == "1"
        assert answer.values("set-cookie") == []


@pytest.mark.parametrize("is_first", [True, False])
def test_an_older_session_of_ours_does_not_win_either(door: Door, *, is_first: bool) -> None:
    attacker = logged_in(door, "2").cookies[door.name]
    door.clock.now_s += 1
    own = logged_in(door).cookies[door.name]
    values = (attacker, own) if is_first else (own, attacker)
    answer = door.raw("/state", "; ".join(f"{door.name}={value}" for value in values))
    assert answer.json()["user"] == "1"


def test_a_logout_ends_the_session_whatever_was_tossed(door: Door) -> None:
    own = logged_in(door).cookies[door.name]
    door.raw("/logout", f"{door.name}={own}; {door.name}=x")
    assert who(door.browser(session=own)) is None


# Replay.


def test_nothing_of_a_session_comes_back_when_its_tombstones_are_gone(door: Door) -> None:
    door.reopen(policy=Policy(idle_s=7 * 86400, absolute_s=30 * 86400, renew_s=3600))
    browser = logged_in(door)
    shown = [browser.cookies[door.name]]
    for _ in range(3):
        door.clock.now_s += 3601
        browser.get("/do/write")
        browser.get("/state")
        shown.append(browser.cookies[door.name])
    assert len(set(shown)) >= 3
    browser.get("/logout")
    for _ in range(4):
        for value in shown:
            late = door.browser(session=value)
            late.get("/do/write")
            assert who(late) is None
            assert who(door.browser(session=value)) is None
        door.clock.now_s += 3700


def test_a_renewed_id_is_dead_after_the_grace(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60, grace_s=10))
    browser = logged_in(door)
    old = browser.twin()
    door.clock.now_s += 61
    browser.get("/state")
    browser.get("/state")  # the new cookie was shown
    assert who(old.twin()) == "1"
    door.clock.now_s += 11
    assert who(old.twin()) is None
    assert who(browser) == "1"


def test_a_revocation_between_renewal_and_its_first_use_holds(door: Door) -> None:
    door.reopen(policy=Policy(renew_s=60))
    browser = logged_in(door)
    old = browser.twin()
    door.clock.now_s += 61
    browser.get("/state")
    door.sessions.revoke_user("1")
    assert (who(old), who(browser)) == (None, None)


# What is told.


def test_no_id_is_in_what_objects_say_of_themselves(door: Door) -> None:
    value = logged_in(door).cookies[door.name]
    session = door.sessions.open([value])
    session["n"] = "private words"
    read = door.sessions.ring.read(value, door.clock())
    assert isinstance(read, SessionId)
    for thing in (session, read, door.sessions, door.sessions.ring, door.sessions.cookie, session.loaded):
        text = repr(thing)
        assert "private" not in text
        assert SECRET not in text
        assert value not in text
        assert repr(read.raw)[2:20] not in text


def test_what_cannot_be_stored_is_named_and_not_shown(door: Door) -> None:
    session = door.sessions.open(None)
    session["field"] = ["private words", object()]
    with pytest.raises(UnsupportedValueError, match="field") as caught:
        door.sessions.save(session)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
