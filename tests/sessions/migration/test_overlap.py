"""Requests that show the same old cookie at the same time, in every order of their steps.

Each request, and each revocation, is a flow of operations on one store. Every way to interleave two
flows is played, and afterwards the promises are checked.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from limpet.sessions import Sessions, flows, loading
from limpet.sessions.decide import CookieAct
from limpet.sessions.drive import _place
from limpet.sessions.migration import OldSession, Source
from limpet.sessions.revoke import revoke_everyone, revoke_user
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.sessions import Session
    from limpet.sessions.operations import Flow

NOW_S = 1_800_000_000.0
#: No flow here takes more steps.
STEPS = 14


class Cookie(Source):
    """A session that cannot be removed, as it is its cookie."""

    name: ClassVar[str] = "cookie"
    user_field: ClassVar[str | None] = "user"

    def __init__(self) -> None:
        super().__init__("old")

    def identify(self, value: str) -> str | None:
        return value

    def read(self, identity: str, now_s: float) -> OldSession | None:
        return OldSession({"user": identity, "cart": 1}, now_s + 86400)

    def end(self, identity: str) -> None:
        pass


class Site:
    """A site, and what its clients hold after their requests."""

    def __init__(self) -> None:
        self.sessions = Sessions(
            MemoryStore(now_s=lambda: NOW_S), secret="x" * 32, old=[Cookie()], now_s=lambda: NOW_S
        )
        self.held: list[str] = []

    def request(self, act: Callable[[Session], Any]) -> Flow[None]:
        session = self.sessions.open_request({"old": "ann"})
        yield from loading.load(session, self.sessions)
        act(session)
        saved = yield from flows.save(session, self.sessions)
        if saved.cookie is CookieAct.SET and saved.session_id is not None:
            self.held.append(self.sessions.ring.sign(saved.session_id))

    def play(self, order: list[int], *all_flows: Flow[Any]) -> None:
        """Take the next step of the flow whose turn it is; at the end of the order, the rest."""
        answers: list[Any] = [None, None]
        over: set[int] = set()
        for turn in [*order, *[0] * STEPS, *[1] * STEPS]:
            if turn in over:
                continue
            try:
                operation = all_flows[turn].send(answers[turn])
            except StopIteration:
                over.add(turn)
            else:
                answers[turn] = _place(operation, self.sessions.store).run(operation)
        assert over == {0, 1}

    def user(self, *, old: bool, held: str | None = None) -> Any:
        cookies = {"old": "ann"} if old else {}
        if held is not None:
            cookies[self.sessions.cookie.full_name] = held
        return self.sessions.open_request(cookies).user_id


def orders() -> Iterator[list[int]]:
    """Every order of the first steps of two flows; the very first only reads the old session."""
    length = 5
    for places in combinations(range(2 * length), length):
        yield [0, 1, *(0 if place in places else 1 for place in range(2 * length))]


def read(session: Session) -> Any:
    return session.get("cart")


def write(name: str) -> Callable[[Session], Any]:
    return lambda session: session.__setitem__(name, 1)


@pytest.mark.parametrize("act", [read, write("theirs")])
def test_a_logout_beats_what_runs_beside_it(act: Callable[[Session], Any]) -> None:
    for order in orders():
        site = Site()
        site.play(order, site.request(act), site.request(lambda session: session.logout()))
        assert site.user(old=True) is None, order
        assert all(site.user(old=True, held=held) is None for held in site.held), order


@pytest.mark.parametrize("ends", ["user", "everyone"])
def test_a_revocation_beats_what_runs_beside_it(ends: str) -> None:
    for order in orders():
        site = Site()
        revoke = (
            revoke_user(site.sessions, "ann", with_old=True)
            if ends == "user"
            else revoke_everyone(site.sessions)
        )
        site.play(order, site.request(write("theirs")), revoke)
        assert site.user(old=True) is None, order
        assert all(site.user(old=True, held=held) is None for held in site.held), order


def test_both_writes_of_two_first_requests_are_kept() -> None:
    for order in orders():
        site = Site()
        site.play(order, site.request(write("mine")), site.request(write("theirs")))
        assert len(set(site.held)) == 1, order
        session = site.sessions.open(site.held[0])
        assert dict(session) == {"user": "ann", "cart": 1, "mine": 1, "theirs": 1}, order
        assert site.sessions.events.adoptions.total() == 1


def test_a_login_beats_the_adoption_beside_it() -> None:
    for order in orders():
        site = Site()
        site.play(order, site.request(read), site.request(lambda session: session.login("ann")))
        alive = [held for held in site.held if site.user(old=False, held=held) == "ann"]
        assert len(alive) == 1, order
        assert site.user(old=True) is None, order
