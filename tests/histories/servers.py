"""Simulated app servers that run the real session layer, over links to their store that can break.

A request is the real `SessionMiddleware` with a small app inside, a coroutine that the simulation drives by
hand: it stops at each operation of the store, which is done, and whose answer arrives, some time later.
Real are sessions, flows, near-cache, and the memory store; modelled are

- the guard around a store: an operation is tried twice (its deadlines need a running event loop);
- what vouches for copies: `Tracking` keeps the contract that `stores.redis_tracking` states. Changes are
  told in order, on a connection on which an answered question vouches for `MAX_STALE_S` from when it was
  asked.
  Messages may take as long as they like.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from limpet.sessions import NearCache, Policy, Sessions
from limpet.sessions.asgi import SessionMiddleware
from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.near_cache import Copies
from limpet.sessions.operations import Commit, Create, End, RevokeUser
from limpet.sessions.stores import MAX_STALE_S
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from simulation import Simulation

    from limpet.sessions.stores import Listener

SECRET = "a secret for histories that is long enough"
PING_S = 0.35


class SharedStore(MemoryStore):
    """A store that several servers read, and that tells them of changes."""

    has_leases = True

    def __init__(self, name: str, simulation: Simulation) -> None:
        super().__init__(now_s=simulation.clock)
        self.name = name
        self.connections: list[Connection] = []

    def run(self, operation: Any) -> Any:
        """Perform an operation, and tell of it if it has changed something."""
        match operation:
            case Create(key) | Commit(key) | End(key):
                before = self._entries.get(key.session)
                answer = super().run(operation)
                if self._entries.get(key.session) is not before:
                    self._tell([key.session], [])
                return answer
            case RevokeUser(user):
                answer = super().run(operation)
                self._tell([], [user])
                return answer
        return super().run(operation)

    def _tell(self, sessions: list[str], users: list[str]) -> None:
        for connection in list(self.connections):
            connection.tell(sessions, users)


class Step:
    """An operation that a coroutine waits for."""

    __slots__ = ("link", "operation")

    def __init__(self, link: Link, operation: Any) -> None:
        self.link = link
        self.operation = operation

    def __await__(self) -> Any:
        """Stop here."""
        return (yield self)


class Link:
    """A server's way to its store.

    Attributes:
        is_cut: operations fail; whether they were done all the same, nobody knows.
    """

    has_leases = True

    def __init__(self, store: SharedStore, simulation: Simulation) -> None:
        self.store = store
        self.identity = store.name
        self.is_cut = False
        self.simulation = simulation
        self.tracking: Tracking | None = None

    def now_s(self) -> float:
        return self.store.now_s()

    def part(self, operation: Any) -> None:
        return None

    def watch(self, listener: Listener) -> Tracking:
        self.tracking = Tracking(self, listener)
        return self.tracking

    async def arun(self, operation: Any) -> Any:
        try:
            return await Step(self, operation)
        except StoreUnavailableError:
            return await Step(self, operation)

    def perform(self, operation: Any) -> Any:
        """Do an operation, unless the link is cut."""
        if not self.is_cut:
            return self.store.run(operation)
        if self.simulation.rng.random() < 0.3:
            self.store.run(operation)  # only its answer is lost
        raise StoreUnavailableError("the link is cut")

    def heal(self) -> None:
        self.is_cut = False
        if self.tracking is not None and self.tracking.connection is not None:
            self.tracking.connection.flush()


class Connection:
    """A connection on which changes are told; nothing overtakes anything on it."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        self._simulation = tracking.link.simulation
        self._last_s = 0.0
        self._stuck: list[Callable[[], None]] = []
        self.opened_s = self._simulation.now_s
        self.until_s = 0.0
        tracking.link.store.connections.append(self)

    def tell(self, sessions: list[str], users: list[str]) -> None:
        self._send(lambda: self._tracking.listener.forget(sessions, users))

    def ask(self) -> None:
        """Ask whether it still stands; the answer comes after all that was told before."""
        sent_s = self._simulation.now_s
        if not self._tracking.link.is_cut:
            self._simulation.soon(lambda: self._send(lambda: self._vouch(sent_s)))

    def flush(self) -> None:
        stuck, self._stuck = self._stuck, []
        for act in stuck:
            self._send(act)

    def close(self) -> None:
        self._tracking.link.store.connections.remove(self)

    def _vouch(self, sent_s: float) -> None:
        self.until_s = max(self.until_s, sent_s + MAX_STALE_S)

    def _send(self, act: Callable[[], None]) -> None:
        self._last_s = max(self._last_s, self._simulation.now_s + self._simulation.delay_s(0.2))
        self._simulation.at(self._last_s, lambda: self._arrive(act))

    def _arrive(self, act: Callable[[], None]) -> None:
        if self._tracking.connection is not self:
            return
        if self._stuck or self._tracking.link.is_cut:
            self._stuck.append(act)
        else:
            act()


class Tracking:
    """Vouches for the copies of one server, as `stores.redis_tracking` does."""

    def __init__(self, link: Link, listener: Listener) -> None:
        self.link = link
        self.listener = listener
        self.connection: Connection | None = None
        self._is_closed = False
        self._tick()

    def begin(self) -> object | None:
        return self.connection if self.holds(self.connection) else None

    def holds(self, stamp: object) -> bool:
        connection = self.connection
        if connection is None or stamp is not connection:
            return False
        return self.link.simulation.now_s < connection.until_s

    def close(self) -> None:
        self._is_closed = True
        self._drop()

    def _tick(self) -> None:
        if self._is_closed:
            return
        now_s, connection = self.link.simulation.now_s, self.connection
        if connection is not None and now_s >= max(connection.until_s, connection.opened_s + MAX_STALE_S):
            self._drop()
            self.listener.voided()
        if self.connection is None and not self.link.is_cut:
            self.connection = Connection(self)
        if self.connection is not None:
            self.connection.ask()
        self.link.simulation.after(PING_S, self._tick)

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Task:
    """A coroutine that is driven by hand."""

    def __init__(self, server: Server, work: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        self._server = server
        self._work = work
        self._done = done
        server.tasks.add(self)

    def go(self) -> None:
        self._resume(lambda: self._work.send(None))

    def end(self) -> None:
        """End with the process that it belongs to; what it has sent to the store is on its way."""
        self._server.tasks.discard(self)
        self._work.close()

    def _resume(self, resume: Callable[[], Step]) -> None:
        if self not in self._server.tasks:
            return
        try:
            step = resume()
        except StopIteration as stop:
            self._server.tasks.discard(self)
            self._done(stop.value)
        except StoreUnavailableError:
            self._server.tasks.discard(self)
            self._done(None)
        else:
            self._server.simulation.soon(lambda: self._perform(step))

    def _perform(self, step: Step) -> None:
        soon = self._server.simulation.soon
        try:
            answer = step.link.perform(step.operation)
        except StoreUnavailableError as error:
            failure = error
            soon(lambda: self._resume(lambda: self._work.throw(failure)))
        else:
            soon(lambda: self._resume(lambda: self._work.send(answer)))


class Server:
    """One app server, which can be killed and started again.

    Args:
        app: the ASGI app inside.
        has_copies: whether it has a near-cache.
    """

    def __init__(
        self,
        name: str,
        store: SharedStore,
        simulation: Simulation,
        app: Any,
        policy: Policy,
        has_copies: bool,
    ) -> None:
        self.name = name
        self.store = store
        self.simulation = simulation
        self.is_up = False
        self.tasks: set[Task] = set()
        self._app = app
        self._policy = policy
        self._has_copies = has_copies
        self.start()

    def start(self) -> None:
        """Start its process, which remembers nothing."""
        self.is_up = True
        self.link: Any = Link(self.store, self.simulation)
        sessions = self.sessions = Sessions(
            self.link,
            secret=SECRET,
            policy=self._policy,
            secure=False,
            near_cache=False,
            entropy=self.simulation.entropy,
        )
        # The guard's deadlines need an event loop; see the top of this file.
        sessions._performer = self.link
        if self._has_copies:
            sessions._performer = Copies(self.link, self.link, NearCache(), sessions.events)
        # `tell_findings` would begin a thread.
        sessions._check_pid, sessions._check = os.getpid(), object()  # type: ignore[assignment]
        self.fingerprint = sessions.balancer._fingerprint_of(self.link.identity)
        self._middleware = SessionMiddleware(self._app, sessions)

    def kill(self) -> None:
        """End its process in the middle of whatever it does."""
        self.is_up = False
        for task in list(self.tasks):
            task.end()
        if self.link.tracking is not None:
            self.link.tracking.close()

    def serve(self, scope: dict[str, Any], done: Callable[[list[Any]], None]) -> None:
        """Begin a request; `done` is told of the headers of its response, as the last messages say."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        Task(self, self._middleware(scope, receive, send), lambda _: done(sent)).go()

    def do(self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Begin something that is no request."""
        Task(self, work, done).go()
