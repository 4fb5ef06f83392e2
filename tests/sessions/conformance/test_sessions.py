"""The promises of a session, over every store: nothing is lost, nothing comes back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from limpet.sessions import EndReason, Sessions
from limpet.sessions.stores.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions import Session
    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


class Browser:
    """A cookie jar, and requests that overlap as a test wants them to.

    The clock is the wall clock and an offset that tests move.
    """

    def __init__(self, store: Store) -> None:
        self.offset_s = 0.0
        self.sessions = Sessions(
            store, secret=SECRET, now_s=lambda: time.time() + self.offset_s, deadline_s=10
        )
        self.cookie: str | None = None

    def begin(self, *, reads: bool = True) -> Session:
        session = self.sessions.open(self.cookie, address="192.0.2.1", user_agent="Tests/1")
        if reads:
            len(session)
        return session

    def end(self, session: Session) -> list[tuple[str, str]]:
        headers = self.sessions.save(session)
        self.take(headers)
        return headers

    def take(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            if name == "Set-Cookie":
                pair = value.split(";")[0].partition("=")[2]
                self.cookie = pair or None

    def request(self, act: Callable[[Session], Any]) -> Any:
        session = self.begin()
        result = act(session)
        self.end(session)
        return result


@pytest.fixture
def browser(store: Store) -> Browser:
    return Browser(store)


def log_in(browser: Browser, **fields: Any) -> str:
    user = f"user-{time.time_ns()}"

    def act(session: Session) -> None:
        session.update(fields)
        session.login(user)

    browser.request(act)
    return user


def test_fields_come_back_and_only_new_sessions_set_a_cookie(browser: Browser) -> None:
    session = browser.begin()
    session["cart"] = {"apples": [1, 2]}
    names = [name for name, _ in browser.end(session)]
    assert names == ["Vary", "Set-Cookie", "Cache-Control"]
    session = browser.begin()
    session["cart"]["apples"].append(3)
    assert browser.end(session) == [("Vary", "Cookie")]
    assert browser.request(dict) == {"cart": {"apples": [1, 2, 3]}}


def test_what_is_not_touched_is_not_loaded_and_says_nothing(browser: Browser) -> None:
    log_in(browser)
    session = browser.begin(reads=False)
    assert browser.end(session) == []
    assert session.loaded is None


def test_visitors_who_store_nothing_leave_nothing(browser: Browser) -> None:
    session = browser.begin()
    assert "x" not in session
    assert browser.end(session) == [("Vary", "Cookie")]
    browser.request(lambda session: session.logout())
    assert browser.cookie is None


# The overlap matrix: a request begins, another one runs from its begin to its end, then the first
# one ends, having only read or having written.


def _write(session: Session) -> None:
    session["theirs"] = 1


def _login(session: Session) -> None:
    session.login("somebody else")


OTHERS: dict[str, Callable[[Session], Any]] = {
    "write": _write,
    "logout": lambda session: session.logout(),
    "rotate": lambda session: session.rotate(),
    "login": _login,
    "revoke": lambda _session: None,
}


@pytest.mark.parametrize("writes", [False, True], ids=["slow read", "slow write"])
@pytest.mark.parametrize("other", OTHERS)
def test_overlapping_requests(browser: Browser, other: str, writes: bool) -> None:
    user = log_in(browser, mine=0)
    old_cookie = browser.cookie
    slow = browser.begin()
    browser.request(OTHERS[other])
    if other == "revoke":
        browser.sessions.revoke_user(user)
    cookie = browser.cookie
    if writes:
        slow["mine"] = 2
    headers = browser.end(slow)
    assert "Set-Cookie" not in dict(headers)
    assert browser.cookie == cookie
    left = browser.request(dict)
    if other == "write":
        assert left == {"mine": 2 if writes else 0, "theirs": 1}
    elif other == "rotate":
        assert left == {"mine": 2 if writes else 0}
    else:
        assert left == {}
    if other != "write":
        browser.cookie = old_cookie
        assert browser.request(dict) == {}
        assert browser.request(lambda session: session.user_id) is None


@pytest.mark.parametrize("writes", [False, True], ids=["slow read", "slow write"])
def test_a_visitor_who_logs_in_meanwhile(browser: Browser, writes: bool) -> None:
    browser.request(lambda session: session.update(cart=1))
    slow = browser.begin()
    user = log_in(browser)
    if writes:
        slow["seen"] = True
    browser.end(slow)
    assert browser.request(lambda session: session.user_id) == user
    assert browser.request(dict) == {"cart": 1} | ({"seen": True} if writes else {})


def test_a_straggler_does_not_replace_the_cookie_of_a_login(browser: Browser) -> None:
    browser.request(lambda session: session.update(cart=1))
    old_cookie = browser.cookie
    user = log_in(browser)
    straggler = browser.sessions.open(old_cookie)
    straggler["csrf"] = "token"
    browser.end(straggler)
    assert browser.request(lambda session: session.user_id) == user


def test_a_login_while_logged_out_meanwhile_counts(browser: Browser) -> None:
    log_in(browser, secret="of the first")
    slow = browser.begin()
    browser.request(lambda session: session.logout())
    slow.login("second")
    browser.end(slow)
    assert browser.request(lambda session: (session.user_id, dict(session))) == ("second", {})


@pytest.mark.parametrize("first", ["logout", "rotate"])
def test_two_ends_at_once(browser: Browser, first: str) -> None:
    log_in(browser, a=1)
    one, two = browser.begin(), browser.begin()
    if first == "logout":
        one.logout()
        two.rotate()
    else:
        one.rotate()
        two.logout()
    browser.end(one)
    browser.end(two)
    assert browser.cookie is None or browser.request(dict) == {}


def test_a_logout_finds_the_session_that_was_rotated_meanwhile(browser: Browser) -> None:
    log_in(browser, a=1)
    slow = browser.begin()
    browser.request(lambda session: session.rotate())
    cookie = browser.cookie
    slow.logout()
    browser.end(slow)
    browser.cookie = cookie
    assert browser.request(dict) == {}


def test_counters_and_sets_lose_nothing(browser: Browser) -> None:
    browser.request(lambda session: session.update(n=1, tags={"a"}))
    slow, fast = browser.begin(), browser.begin()
    for session, tag in ((slow, "b"), (fast, "c")):
        assert session.incr("n", 2) == 3
        assert session.incr("hits") == 1
        session.add("tags", tag)
    browser.end(fast)
    browser.end(slow)
    assert browser.request(dict) == {"n": 5, "hits": 2, "tags": {"a", "b", "c"}}


# Renewal.

DAY_S = 86400.0


def raw_id(browser: Browser, cookie: str | None) -> bytes:
    assert cookie is not None
    session_id = browser.sessions.ring.read(cookie, time.time())
    assert not isinstance(session_id, EndReason)
    return session_id.raw


def test_a_renewed_id_serves_parallel_requests_and_a_lost_answer(browser: Browser) -> None:
    user = log_in(browser, a=1)
    old_cookie = browser.cookie
    browser.offset_s = DAY_S + 1
    slow = browser.begin()
    browser.request(lambda session: session["a"])
    new_cookie = browser.cookie
    assert new_cookie != old_cookie
    slow["b"] = 2
    browser.end(slow)
    # The same id; the cookie also says in which second it was issued.
    assert raw_id(browser, browser.cookie) == raw_id(browser, new_cookie)
    # The answer with the new cookie was lost; hours later the browser still shows the old one.
    browser.cookie = old_cookie
    browser.offset_s += 7200
    assert browser.request(dict) == {"a": 1, "b": 2}
    assert browser.request(lambda session: session.user_id) == user
    assert browser.cookie is not None
    # Now it has shown the new one: the old one dies after the grace.
    browser.offset_s += 11
    current, browser.cookie = browser.cookie, old_cookie
    assert browser.request(dict) == {}
    browser.cookie = current
    assert browser.request(dict) == {"a": 1, "b": 2}


def test_a_renewal_does_not_bring_back_a_revoked_session(browser: Browser) -> None:
    user = log_in(browser, a=1)
    browser.offset_s = DAY_S + 1
    slow = browser.begin()
    browser.sessions.revoke_user(user)
    assert "Set-Cookie" not in dict(browser.end(slow))
    assert browser.request(dict) == {}


def test_a_new_secret_renews_and_the_user_can_still_be_revoked(browser: Browser) -> None:
    user = log_in(browser, a=1)
    old_cookie = browser.cookie
    sessions = browser.sessions
    both = Sessions(sessions.store, secret=["another secret for the tests", SECRET], deadline_s=10)
    browser.sessions = both
    assert browser.request(dict) == {"a": 1}
    assert browser.cookie != old_cookie
    assert browser.request(dict) == {"a": 1}
    only_new = Sessions(sessions.store, secret="another secret for the tests", deadline_s=10)
    browser.sessions = only_new
    assert browser.request(dict) == {"a": 1}
    assert [each.device for each in only_new.list_user(user)] == ["Tests/1"]
    only_new.revoke_user(user)
    assert browser.request(dict) == {}


# Lifetimes.


def test_an_idle_session_is_kept_as_long_as_promised(browser: Browser) -> None:
    browser.request(lambda session: session.set_lifetime(idle_s=600) or session.update(a=1))
    for _ in range(4):
        browser.offset_s += 600
        assert browser.request(dict) == {"a": 1}
    browser.offset_s += 600 + 31
    assert browser.request(dict) == {}
    assert browser.sessions.events.met[EndReason.IDLE] == 1


def test_nothing_extends_the_absolute_end(browser: Browser) -> None:
    browser.request(lambda session: session.set_lifetime(absolute_s=100) or session.update(a=1))
    browser.offset_s = 99
    assert browser.request(dict) == {"a": 1}
    browser.offset_s = 101
    assert browser.request(dict) == {}
    assert browser.sessions.events.met[EndReason.ABSOLUTE] == 1


def test_a_session_that_vanished_is_counted_as_lost(browser: Browser) -> None:
    browser.cookie = browser.sessions.ring.sign(
        browser.sessions.ring.new_id(
            user_key="", issued_s=time.time(), ends_s=time.time() + 1000, entropy=bytes
        )
    )
    assert browser.request(dict) == {}
    assert browser.sessions.events.met[EndReason.LOST] == 1


# Lists.


def test_devices_are_listed_and_revoked_one_by_one(browser: Browser) -> None:
    user = log_in(browser)
    first = browser.cookie
    browser.cookie = None
    browser.request(lambda session: session.login(user, device="my phone"))
    listed = browser.sessions.list_user(user)
    assert {each.device for each in listed} == {"Tests/1", "my phone"}
    phone = next(each for each in listed if each.device == "my phone")
    assert phone.address == "192.0.2.1"
    assert browser.sessions.revoke_session(user, phone.reference)
    assert not browser.sessions.revoke_session(user, phone.reference)
    assert browser.request(lambda session: session.user_id) is None
    assert browser.sessions.events.met[EndReason.REVOKED] == 1
    browser.cookie = first
    assert browser.request(lambda session: session.user_id) == user


def test_the_same_from_an_event_loop(browser: Browser) -> None:
    sessions = browser.sessions

    async def scenario() -> None:
        first = sessions.open(None)
        first["n"] = 1
        first.login("ann")
        browser.take(await sessions.asave(first))
        second = sessions.open(browser.cookie)
        await sessions.aload(second)
        assert second.user_id == "ann"
        second["n"] += 1
        assert await sessions.asave(second) == [("Vary", "Cookie")]
        assert len(await sessions.alist_user("ann")) >= 1
        await sessions.arevoke_user("ann")
        third = sessions.open(browser.cookie)
        await sessions.aload(third)
        assert dict(third) == {}
        await sessions.store.aclose()

    asyncio.run(scenario())


def test_the_guard_is_around_every_store(browser: Browser) -> None:
    assert isinstance(browser.sessions.store, Guard)
