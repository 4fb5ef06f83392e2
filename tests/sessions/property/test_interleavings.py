"""Every order in which the steps of two requests can overlap, many of three, with answers that are
lost and with requests that die: session logic is generators, so a test can be the scheduler.

Each request loads its session, does something, and saves. Whatever the order, in the end:

- what ended stays ended: no cookie that was ever given out opens it;
- else the cookie that came last opens it, as the only record that is alive, and every field that a
  request wrote is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest

from limpet.sessions import Policy, Session, Sessions, flows, loading
from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.operations import Load, Operation
from limpet.sessions.revoke import revoke_everyone, revoke_user
from limpet.sessions.stores.memory import MemoryStore

SECRETS = ["the first secret of these tests", "the second secret of these tests"]
POLICY = Policy(idle_s=500_000, absolute_s=1_000_000, renew_s=1000, grace_s=10)
START_S = 1_000_000.0

Act = Callable[[Session], Any]
Steps = Generator[Operation[Any], Any, "str | None"]


class Remove(NamedTuple):
    """A step of a store that removes everyone's records in no single step, as Redis does.

    Attributes:
        half: 0 or 1, of all keys by their first digit.
    """

    half: int

    def concerns(self, name: str) -> bool:
        return (name[:1] >= "8") == bool(self.half)


class Store(MemoryStore):
    """In memory, with such steps."""

    def run(self, operation: Any) -> Any:
        if not isinstance(operation, Remove):
            return super().run(operation)
        for session in [each for each in self._entries if operation.concerns(each)]:
            del self._entries[session]
        for user in [each for each in self._epochs if operation.concerns(each)]:
            del self._epochs[user]
        return None


class Kind(NamedTuple):
    """What a request does.

    Attributes:
        ends: afterwards nobody is in, unless another request logs in.
    """

    name: str
    act: Act | None = None
    ends: bool = False
    logs_in: bool = False
    server: int = 0


def _nothing(_session: Session) -> None:
    pass


WRITE = Kind("write", _nothing)
ROTATE = Kind("rotate", lambda session: session.rotate())
LOGIN = Kind("login", lambda session: session.login("ann"), logs_in=True)
LOGOUT = Kind("logout", lambda session: session.logout(), ends=True)
REVOKE = Kind("revoke", ends=True)
EVERYONE = Kind("revoke everyone", ends=True)
UPWARDS = Kind("revoke everyone upwards", ends=True)
DOWNWARDS = Kind("revoke everyone downwards", ends=True)
ELSEWHERE = Kind("on a server with a newer secret", _nothing, server=1)
KINDS = [WRITE, ROTATE, LOGIN, LOGOUT, REVOKE, EVERYONE, UPWARDS, DOWNWARDS, ELSEWHERE]


class World:
    """A store with one session in it, and two servers; made once, and again for each order.

    Args:
        age_s: of the session; above 1000 it is to be renewed.
    """

    def __init__(self, age_s: float, user: str | None) -> None:
        self.count = 0
        self.now_s = START_S
        self.user = user
        self.store = Store(now_s=lambda: self.now_s)
        self.servers = [
            Sessions(self.store, secret=secrets, policy=POLICY, now_s=lambda: self.now_s, entropy=self._bytes)
            for secrets in (SECRETS, SECRETS[::-1])
        ]
        session = self.servers[0].open(None)
        session["first"] = 1
        session["n"] = 0
        if user is not None:
            session.login(user)
        self.cookie = dict(self.servers[0].save(session))["Set-Cookie"].split(";")[0].partition("=")[2]
        self.now_s += age_s
        self.found: set[int] = set()
        self._begin = (dict(self.store._entries), dict(self.store._epochs), self.count)

    def _bytes(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")

    def reset(self) -> None:
        self.found = set()
        entries, epochs, self.count = self._begin
        self.store._entries, self.store._epochs = dict(entries), dict(epochs)
        self.store._facts = self.store._facts._replace(everyone_s=0.0)

    def request(self, kind: Kind, number: int) -> Steps:
        sessions = self.servers[kind.server]
        if kind is REVOKE:
            yield from revoke_user(sessions, "ann", with_old=False)
            return None
        if kind is EVERYONE:
            yield from revoke_everyone(sessions)
            return None
        if kind in (UPWARDS, DOWNWARDS):
            facts = self.store._facts._replace(everyone_s=self.now_s)
            self.store._facts = facts
            for half in (0, 1) if kind is UPWARDS else (1, 0):
                yield Remove(half)  # type: ignore[misc]
            return None
        session = sessions.open(self.cookie)
        yield from loading.load(session, sessions)
        assert kind.act is not None
        assert session.loaded is not None
        if session.loaded.record is not None:
            self.found.add(number)
        kind.act(session)
        if not kind.ends:
            session[f"by {number}"] = 1
            session.incr("n")
        saved = yield from flows.save(session, sessions)
        return sessions.ring.sign(saved.session_id) if saved.session_id is not None else None

    def opens(self, cookie: str) -> dict[str, Any] | None:
        session = self.servers[1].open(cookie)
        found = dict(session)
        assert session.loaded is not None
        return found if session.loaded.record is not None else None

    def alive(self) -> int:
        stored = [self.store._stored(entry.key) for entry in self.store._entries.values()]
        return sum(1 for each in stored if each.alive is not None)


class Run:
    """One order. `choices` says who goes next where several could; beyond it whoever went last."""

    def __init__(self, world: World, kinds: tuple[Kind, ...], choices: list[int], *, twice: bool) -> None:
        world.reset()
        self.world = world
        self.flows = dict(enumerate(world.request(kind, number) for number, kind in enumerate(kinds)))
        self.next = {number: next(flow) for number, flow in self.flows.items()}
        self.again = dict.fromkeys(self.flows, twice)
        self.twice = twice
        self.cookies: list[str] = []
        self.finished: list[int] = []
        self.choices = choices
        self.options: list[list[int]] = []
        self.chosen: list[int] = []

    def finish(self) -> None:
        last = 0
        while self.flows:
            able = sorted(self.flows, key=lambda number: number != last)
            at = len(self.chosen)
            last = self.choices[at] if at < len(self.choices) else able[0]
            self.options.append(able)
            self.chosen.append(last)
            self._step(last)

    def _step(self, number: int) -> None:
        operation = self.next[number]
        answer = self.world.store.run(operation)
        if self.again[number] and not isinstance(operation, Load):
            self.again[number] = False  # the answer was lost; the guard asks again
            return
        self.again[number] = self.twice
        self._resume(number, lambda flow: flow.send(answer))

    def _resume(self, number: int, resume: Callable[[Steps], Operation[Any]]) -> None:
        try:
            self.next[number] = resume(self.flows[number])
        except StopIteration as stop:
            self.finished.append(number)
            del self.flows[number]
            if stop.value is not None:
                self.cookies.append(stop.value)


def orders(
    world: World, kinds: tuple[Kind, ...], *, switches: int = 99, twice: bool = False
) -> Generator[Run]:
    """Run every order with at most so many switches away from a request that could go on."""
    to_do: list[list[int]] = [[]]
    while to_do:
        choices = to_do.pop()
        run = Run(world, kinds, choices, twice=twice)
        run.finish()
        yield run
        for at in range(len(choices), len(run.chosen)):
            for other in run.options[at][1:]:
                changed = [*run.chosen[:at], other]
                if _switches(run, changed) <= switches:
                    to_do.append(changed)


def _switches(run: Run, choices: list[int]) -> int:
    pairs = zip(choices, choices[1:], run.options[1:], strict=False)
    return sum(1 for before, after, able in pairs if before != after and before in able)


def check(run: Run, kinds: tuple[Kind, ...]) -> None:
    world, order = run.world, run.chosen
    given = [world.cookie, *run.cookies]
    logs_in = any(kind.logs_in for kind in kinds)
    has_end = any(kind.ends and (world.user or logs_in or kind is not REVOKE) for kind in kinds)
    if has_end and not logs_in:
        # Who comes when it is over may begin anew, as a visitor.
        assert all("first" not in (world.opens(cookie) or {}) for cookie in given), order
        assert world.opens(world.cookie) is None, order
        return
    if has_end:
        assert world.opens(world.cookie) is None, order
        return
    found = world.opens(given[-1])
    assert found is not None, order
    if sum(kind.logs_in for kind in kinds) > 1:
        return  # two logins are two sessions
    writers = sorted(world.found)
    if not any(kind in (ROTATE, LOGIN) for kind in kinds):
        assert len(writers) == sum(kind.act is not None for kind in kinds), order  # only these kill an id
    if any(kind.logs_in and number not in writers for number, kind in enumerate(kinds)):
        return  # it came with an id that was dead, so it began anew
    assert found == {"first": 1, "n": len(writers)} | {f"by {number}": 1 for number in writers}, order
    assert world.alive() == 1, order
    if any(kind in (ROTATE, LOGIN) for kind in kinds):
        assert world.opens(world.cookie) is None, order


WORLDS = {
    "user": World(100, "ann"),
    "visitor": World(100, None),
    "user to renew": World(1001, "ann"),
    "visitor to renew": World(1001, None),
}
PAIRS = list(itertools.combinations_with_replacement(KINDS, 2))


def _names(kinds: tuple[Kind, ...]) -> str:
    return ", ".join(kind.name for kind in kinds)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("kinds", PAIRS, ids=_names)
def test_two_requests_in_every_order(world: World, kinds: tuple[Kind, ...]) -> None:
    for run in orders(world, kinds):
        check(run, kinds)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("kinds", PAIRS, ids=_names)
def test_two_requests_whose_answers_are_lost(world: World, kinds: tuple[Kind, ...]) -> None:
    """Every write is done, its answer lost, and asked for again: at once, or after the other's steps."""
    for run in orders(world, kinds, switches=2, twice=True):
        check(run, kinds)


TRIPLES = list(itertools.combinations_with_replacement([WRITE, ROTATE, LOGIN, LOGOUT], 3))


@pytest.mark.parametrize("kinds", TRIPLES, ids=_names)
def test_three_requests_in_many_orders(kinds: tuple[Kind, ...]) -> None:
    for run in orders(WORLDS["user to renew"], kinds, switches=2):
        check(run, kinds)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
@pytest.mark.parametrize("kind", [WRITE, ROTATE, LOGIN, LOGOUT, ELSEWHERE], ids=lambda kind: kind.name)
@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_a_request_that_dies_half_way(world: World, kind: Kind, is_done: bool) -> None:
    """The store falls silent before or after any of the steps; then it is back, and so is the user."""
    for deadly in itertools.count():
        world.reset()
        died = _dies(world, kind, deadly, is_done=is_done)
        later = Run(world, (WRITE,), [], twice=False)
        # `Run` begins by putting the world back, so the death is played again.
        world.reset()
        _dies(world, kind, deadly, is_done=is_done)
        later.finish()
        found = world.opens([world.cookie, *later.cookies][-1])
        if kind in (WRITE, ELSEWHERE):
            assert found is not None, deadly
            assert found["first"] == found["by 0"] == 1, deadly
        if not died:
            return


def _dies(world: World, kind: Kind, deadly: int, *, is_done: bool) -> bool:
    flow = world.request(kind, 9)
    try:
        operation = next(flow)
        for number in itertools.count():
            if number == deadly:
                if is_done:
                    world.store.run(operation)
                if isinstance(operation, Load) and number == 0:
                    flow.close()  # a request whose load fails gets no session at all
                    return True
                with pytest.raises(StoreUnavailableError):
                    flow.throw(StoreUnavailableError("the test says so"))
                return True
            operation = flow.send(world.store.run(operation))
    except StopIteration:
        pass
    return False
