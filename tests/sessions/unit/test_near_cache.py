"""Copies of sessions: what may be kept, whatever happens while an answer is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from limpet.sessions import NearCache, Sessions, StoreUnavailableError
from limpet.sessions.asgi import SessionMiddleware
from limpet.sessions.operations import Commit, End, Load
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions.stores import Listener

SECRET = "a secret for tests that is long enough"


class Store(MemoryStore):
    """A store that tells of changes when the test says so, and does something while it answers a load."""

    identity = "a store of the test"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.stamp: object | None = object()
        self.listener: Listener | None = None
        self.meanwhile: Callable[[Any], None] = lambda _operation: None
        self.loads = 0

    def watch(self, listener: Listener) -> Store:
        self.listener = listener
        return self

    def begin(self) -> object | None:
        return self.stamp

    def holds(self, stamp: object) -> bool:
        return stamp is self.stamp

    def run(self, operation: Any) -> Any:
        answer = super().run(operation)
        if isinstance(operation, Load):
            self.loads += 1
        self.meanwhile(operation)
        return answer


class Site:
    def __init__(self) -> None:
        self.store = Store()
        self.sessions = Sessions(self.store, secret=SECRET, near_cache=NearCache())
        session = self.sessions.open(None)
        session["n"] = 0
        session.login("ann")
        (line,) = [value for name, value in self.sessions.save(session) if name == "Set-Cookie"]
        self.cookie = line.split(";")[0].partition("=")[2]
        session_id: Any = self.sessions.ring.read(self.cookie, 0)
        self.key = session_id.key

    def read(self) -> int:
        """Read, and return how many loads that cost."""
        before = self.store.loads
        session = self.sessions.open(self.cookie, is_safe=True)
        assert session["n"] == 0
        return self.store.loads - before


@pytest.fixture
def site() -> Site:
    return Site()


def test_the_second_read_is_free(site: Site) -> None:
    assert [site.read() for _ in range(3)] == [1, 0, 0]
    assert site.sessions.events.near == {"misses": 1, "hits": 2}


@pytest.mark.parametrize("what", ["session", "user", "all", "stamp", "no stamp"])
def test_a_change_while_the_answer_is_under_way_is_not_lost(site: Site, what: str) -> None:
    def change(_operation: Any) -> None:
        assert site.store.listener is not None
        match what:
            case "session":
                site.store.listener.forget([site.key.session], [])
            case "user":
                site.store.listener.forget([], [site.key.user])
            case "all":
                site.store.listener.voided()
            case "stamp":
                site.store.stamp = object()
            case _:
                site.store.stamp = None

    site.store.meanwhile = change
    assert site.read() == 1
    site.store.meanwhile = lambda _operation: None
    site.store.stamp = site.store.stamp or object()
    assert [site.read() for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("kind", [Commit, End])
def test_a_write_whose_answer_is_lost_drops_the_copy(site: Site, kind: type) -> None:
    assert [site.read() for _ in range(2)] == [1, 0]

    def lose(operation: Any) -> None:
        if isinstance(operation, kind):
            raise StoreUnavailableError("the test says so")

    site.store.meanwhile = lose
    session = site.sessions.open(site.cookie)
    if kind is Commit:
        session["n"] = 1
    else:
        session.logout()
    with pytest.raises(StoreUnavailableError):
        site.sessions.save(session)
    site.store.meanwhile = lambda _operation: None
    session = site.sessions.open(site.cookie, is_safe=True)
    assert session.get("n") == (1 if kind is Commit else None)


def test_a_read_that_began_before_a_write_is_not_kept_after_it(site: Site) -> None:
    def write(operation: Any) -> None:
        if isinstance(operation, Load):
            site.store.meanwhile = lambda _operation: None
            session = site.sessions.open(site.cookie)
            session["m"] = 1
            site.sessions.save(session)

    site.store.meanwhile = write
    site.read()
    assert site.sessions.open(site.cookie, is_safe=True)["m"] == 1


def test_a_websocket_does_not_begin_with_a_copy(site: Site) -> None:
    # It would go on for hours.
    assert [site.read() for _ in range(2)] == [1, 0]

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        assert scope["session"]["n"] == 0
        begin = {"type": "http.response.start", "status": 200}
        await send(begin if scope["type"] == "http" else {"type": "websocket.accept"})

    async def nothing(*_: Any) -> Any:
        pass

    def loads(kind: str) -> int:
        before = site.store.loads
        cookie = f"__Host-limpet_session={site.cookie}".encode()
        scope = {"type": kind, "headers": [(b"cookie", cookie)], "method": "GET", "path": "/"}
        asyncio.run(SessionMiddleware(app, site.sessions)(scope, nothing, nothing))
        return site.store.loads - before

    assert [loads("http"), loads("websocket"), loads("http")] == [0, 1, 0]


def test_what_is_absent_is_not_kept(site: Site) -> None:
    session = site.sessions.open(site.cookie)
    session.logout()
    site.sessions.save(session)
    before = site.store.loads
    for _ in range(3):
        assert site.sessions.open(site.cookie, is_safe=True).user_id is None
    assert site.store.loads == before + 3


def test_a_failed_read_leaves_nothing(site: Site) -> None:
    def fail(_operation: Any) -> None:
        raise StoreUnavailableError("the test says so")

    site.store.meanwhile = fail
    with pytest.raises(StoreUnavailableError):
        site.read()
    copies: Any = site.sessions._performer
    assert (copies._entries, copies._of_user, copies._size_bytes) == ({}, {}, 0)
