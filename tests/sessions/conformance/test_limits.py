"""Large sessions, many fields, odd names, and servers whose clocks differ, on every store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from limpet.sessions import Policy, Sessions
from limpet.sessions.errors import SessionTooLargeError, UnsupportedValueError
from limpet.sessions.stores.clock import StoreClock

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

SECRET = "a secret for tests that is long enough"


@pytest.fixture
def sessions(store: Store) -> Sessions:
    return Sessions(store, secret=SECRET, deadline_s=20)


def save(sessions: Sessions, session: Any) -> str | None:
    pair = dict(sessions.save(session)).get("Set-Cookie")
    return pair.split(";")[0].partition("=")[2] if pair is not None else None


def test_thousands_of_fields(sessions: Sessions) -> None:
    session = sessions.open(None)
    session.update({f"field {number}": number for number in range(9000)})
    cookie = save(sessions, session)
    session = sessions.open(cookie)
    assert len(session) == 9000
    session.update({f"field {number}": -number for number in range(9000)})
    session["more"] = 1
    save(sessions, session)
    session = sessions.open(cookie)
    assert session["field 8999"] == -8999
    for number in range(8999):
        del session[f"field {number}"]
    save(sessions, session)
    assert dict(sessions.open(cookie)) == {"field 8999": -8999, "more": 1}


def test_a_session_of_two_megabytes(sessions: Sessions) -> None:
    session = sessions.open(None)
    session["a"] = 1
    cookie = save(sessions, session)
    session = sessions.open(cookie)
    session["big"] = "x" * 2_000_000
    try:
        save(sessions, session)
    except SessionTooLargeError as error:
        assert "store less" in str(error)  # noqa: PT017  # one of two right answers
        for _ in range(6):  # it is no failure of the store: nobody else is refused
            with pytest.raises(SessionTooLargeError):
                save(sessions, session)
        assert dict(sessions.open(cookie)) == {"a": 1}
    else:
        assert len(sessions.open(cookie)["big"]) == 2_000_000


@pytest.mark.parametrize("name", ["\x00", "f:a", "{tag}", "a\r\nDEL x", "\U0001f41a" * 50, "d" * 5000])
def test_odd_names_of_fields(sessions: Sessions, name: str) -> None:
    session = sessions.open(None)
    session[name] = 1
    cookie = save(sessions, session)
    session = sessions.open(cookie)
    session.incr(name)
    save(sessions, session)
    assert dict(sessions.open(cookie)) == {name: 2}


def test_a_name_that_is_no_text(sessions: Sessions) -> None:
    session = sessions.open(None)
    session["\ud800"] = 1
    with pytest.raises(UnsupportedValueError):
        save(sessions, session)


def test_a_server_whose_clock_is_minutes_ahead(store: Store) -> None:
    """What the two write to each other's sessions ends nobody's too early.

    Without a store that tells the time this holds for long promises; with one all agree (below).
    """
    ahead = Sessions(store, secret=SECRET, now_s=lambda: time.time() + 300, deadline_s=20)
    right = Sessions(store, secret=SECRET, deadline_s=20)
    for first, second in ((ahead, right), (right, ahead)):
        session = first.open(None)
        session["n"] = 1
        session.login("ann")
        cookie = save(first, session)
        for each in (second, first, second):
            session = each.open(cookie)
            session.incr("n")
            save(each, session)
        assert right.open(cookie)["n"] == 4


def test_servers_take_the_time_from_the_store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers, one of them five minutes ahead; between them a renewal with its grace of seconds."""
    if not store_url.startswith(("valkey", "redis", "memcached")):
        return  # the store is on the same machine, and has the same clock
    policy = Policy(idle_s=600, absolute_s=86400, renew_s=60, grace_s=10)
    wall_s = time.time
    defaults = (lambda: wall_s() + 300.0, time.monotonic)
    monkeypatch.setattr(StoreClock.__init__, "__defaults__", defaults)
    ahead = Sessions(store_url, secret=SECRET, policy=policy, deadline_s=20)
    monkeypatch.undo()
    right = Sessions(store_url, secret=SECRET, policy=policy, deadline_s=20)
    for each in (ahead, right):
        session = each.open(None)
        session["n"] = 0
        save(each, session)
    assert abs(ahead.now_s() - right.now_s()) < 2
    ahead.store.close()
    right.store.close()


def test_a_user_agent_steers_no_terminal(sessions: Sessions) -> None:
    session = sessions.open(None, user_agent="\x1b[2JPhone\r\n\u202e" + "x" * 5000, address="::1\x07")
    user = f"user {time.time_ns()}"
    session.login(user)
    save(sessions, session)
    (listed,) = sessions.list_user(user)
    assert (listed.device[:10], len(listed.device), listed.address) == ("[2JPhonexx", 200 - 4, "::1")
