"""Adoption over every store: the traces that it leaves are where the next request looks."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from fake_source import Fake

from limpet.sessions import NotSupportedByStoreError, Sessions

if TYPE_CHECKING:
    from limpet.sessions.stores import Store


@pytest.fixture
def source() -> Fake:
    source = Fake(ann={"user": "ann", "cart": 1}, visitor={"cart": 2})
    source.written_s = time.time()  # later than what other tests have revoked on the same server
    return source


@pytest.fixture
def sessions(store: Store, source: Fake) -> Sessions:
    return Sessions(store, secret=os.urandom(32), old=[source], deadline_s=10)


def user(sessions: Sessions, old: str = "ann", own: str | None = None) -> object:
    cookies = {"old": old} | ({sessions.cookie.full_name: own} if own else {})
    session = sessions.open_request(cookies)
    found = session.user_id
    sessions.save(session)
    return found


def adopted(sessions: Sessions, old: str = "ann") -> str:
    session = sessions.open_request({"old": old})
    assert session["cart"] in {1, 2}
    (line,) = [value for name, value in sessions.save(session) if name == "Set-Cookie"]
    return line.partition("=")[2].partition(";")[0]


def test_one_session_for_all_who_show_the_old_cookie(sessions: Sessions) -> None:
    assert adopted(sessions) == adopted(sessions)
    assert adopted(sessions, "visitor") == adopted(sessions, "visitor")
    assert sessions.events.adoptions == {"fake": 2}
    assert len(sessions.list_user("ann")) == 1


def test_a_logout_leaves_a_trace(sessions: Sessions, source: Fake) -> None:
    own, old = adopted(sessions), dict(source.sessions)
    session = sessions.open_request({"old": "ann", sessions.cookie.full_name: own})
    session.logout()
    sessions.save(session)
    source.sessions.update(old)  # as if it were its cookie
    assert user(sessions) is None
    assert user(sessions, own=own) is None


def test_a_revoked_user_is_adopted_no_more(sessions: Sessions) -> None:
    own = adopted(sessions)
    sessions.revoke_user("ann")
    sessions.revoke_user("ann")
    assert user(sessions, own=own) is user(sessions) is None
    assert sessions.list_user("ann") == []
    session = sessions.open(None)
    session.login("ann")
    sessions.save(session)
    assert len(sessions.list_user("ann")) == 1


def test_who_was_never_here_can_be_revoked(sessions: Sessions) -> None:
    sessions.revoke_user("ann", with_old=True)
    assert user(sessions) is None
    assert sessions.list_user("ann") == []


def test_everyone(sessions: Sessions, store: Store) -> None:
    own = adopted(sessions)
    try:
        sessions.revoke_everyone()
    except NotSupportedByStoreError:
        assert "Memcached" in type(store).__name__
        return
    assert user(sessions, own=own) is user(sessions) is None
