"""One seeded history: browsers with tabs, two balancers, servers, stores, and everything that goes wrong.

A browser's jar holds the ticket and the session cookie as responses arrive, late ones and those overtaken by
others included. Servers are killed and started again, drained, put under load, and cut off from their store;
balancers hear of it one after the other. Users are revoked. At the end everything is healed, and each
browser has a last look through each balancer.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from balancers import COOKIE, Balancer, Reply, request_head
from checker import Answer, End, History
from servers import Server, SharedStore
from simulation import START_S, Simulation

from limpet.core.target import Health
from limpet.sessions import Policy
from limpet.sessions.near_cache import wait_s

if TYPE_CHECKING:
    from collections.abc import Callable

#: The simulated seconds in which things go wrong; twice, with a pause in between after which ids are renewed.
TROUBLE_S = 2.5
PAUSE_S = 7.0
#: Until everything is healed, and another time until the last look.
HEAL_S = 3.0
_TABS = 3
_STALE_S = 2.0


async def shop(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """The app: it logs in and out, and writes a mark and a number in one commit."""
    session, seen = scope["session"], scope["seen"]
    await session.aload()
    user = session.user_id
    login = session.get("login", "") if user else ""
    seen.update(login=login, marks=frozenset(session.get("marks", ())) if login else frozenset())
    seen["count"] = session.get("count", 0) if login else 0
    match scope["kind"]:
        case "log in" if not login:
            session.login(scope["user"])
            session["login"], session["marks"], session["count"] = scope["new_login"], set(), 0
            seen["new_login"] = scope["new_login"]
        case "log out" if login:
            session.logout()
        case "write" if login:
            session.add("marks", scope["mark"])
            session.incr("count")
            seen["mark"] = scope["mark"]
        case "write":
            session.incr("visits")  # a visitor's session, which the login takes along
    status = 200 if scope["method"] == "GET" else 303
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"cache-control", b"no-store")]}
    )
    await send({"type": "http.response.body", "body": b""})


class World:
    """Everything there is."""

    def __init__(self, seed: int) -> None:
        simulation = self.simulation = Simulation(seed)
        rng = self.rng = simulation.rng
        is_stale = rng.random() < 0.15
        policy = Policy(
            renew_s=rng.choice([PAUSE_S, 3600.0]),
            grace_s=6.0,
            on_unknown="stale" if is_stale else "unavailable",
            stale_s=_STALE_S,
        )
        # What copies and outages allow, together; what waits can promise nothing of an outage.
        self.history = History(
            bound_s=_STALE_S + 1.0 if is_stale else 1.0, strict_bound_s=_STALE_S if is_stale else 0.0
        )
        main = SharedStore("main", simulation)
        stores = dict.fromkeys("ABC", main)
        checks = rng.random() < 0.5
        if checks and rng.random() < 0.6:
            # A mistake in a configuration, which balancers know from their health checks.
            stores["D"] = SharedStore("other", simulation)
            self.history.has_two_stores = True
        has_copies = rng.random() < 0.85
        self.servers = {
            name: Server(name, store, simulation, shop, policy, has_copies) for name, store in stores.items()
        }
        self.balancers = [
            Balancer(name, self.servers, simulation, self.history, checks=checks) for name in ("one", "two")
        ]
        self.numbers = iter(range(1, 1_000_000))
        #: When each login was sent and answered, whose it is, and where.
        self.logins: dict[str, list[Any]] = {}
        self.revocations: list[tuple[str, str, float, float, bool]] = []
        self.is_calm = False
        #: Logins whose browser was sent to another store because no server of theirs could be asked.
        self.stranded: set[str] = set()
        self.browsers = [Browser(self, name) for name in rng.choice([("ann",), ("ann",), ("ann", "bob")])]

    def run(self) -> History:
        """Play it."""
        self._tick()
        for begin_s in (0.0, PAUSE_S):
            self.simulation.run(START_S + begin_s)
            self.is_calm = False
            for browser in self.browsers:
                browser.begin()
            self._trouble()
            self.simulation.run(START_S + begin_s + TROUBLE_S)
            self.is_calm = True
        self.simulation.after(HEAL_S, self._heal)
        for browser in self.browsers:
            for number in (0, 1):
                last = partial(browser.send, "read", number)
                self.simulation.after(2 * HEAL_S + number, last)
        self.simulation.run(START_S + PAUSE_S + TROUBLE_S + 2 * HEAL_S + 3.0)
        for server in self.servers.values():
            server.kill()
        self._note_ends()
        return self.history

    def _tick(self) -> None:
        if not self.is_calm:
            for balancer in self.balancers:
                balancer.tick()
        self.simulation.after(0.5, self._tick)

    # What goes wrong.

    def _trouble(self) -> None:
        if self.is_calm:
            return
        rng = self.rng
        kinds = [self._kill, self._cut, self._drain, self._leave, self._press, self._press, self._crowd]
        kinds += [self._crowd, self._revoke]
        rng.choice(kinds)(self.servers[rng.choice(sorted(self.servers))])
        self.simulation.after(rng.uniform(0.1, 1.0), self._trouble)

    def _kill(self, server: Server) -> None:
        if not server.is_up:
            return
        server.kill()
        self._tell(lambda each: each.set_health(server.name, Health.UNHEALTHY))
        self.simulation.after(self.rng.uniform(0.3, 2.5), lambda: self._start(server))

    def _start(self, server: Server) -> None:
        if not server.is_up:
            server.start()
            self._tell(lambda each: each.set_health(server.name, Health.HEALTHY))

    def _cut(self, server: Server) -> None:
        link = server.link
        link.is_cut = True
        self.simulation.after(self.rng.uniform(0.1, 2.5), link.heal)

    def _drain(self, server: Server) -> None:
        self._tell(lambda each: each.set_health(server.name, Health.DRAINING))
        back_s = self.rng.uniform(1.0, 2.5)
        self.simulation.after(
            back_s, lambda: self._tell(lambda each: each.set_health(server.name, Health.HEALTHY))
        )

    def _leave(self, server: Server) -> None:
        self._tell(lambda each: each.leave(server.name, is_leaving=True))
        back_s = self.rng.uniform(1.0, 2.5)
        self.simulation.after(
            back_s, lambda: self._tell(lambda each: each.leave(server.name, is_leaving=False))
        )

    def _press(self, server: Server) -> None:
        # Requests of others, so that some of ours are lent.
        states = [each.states[server.name] for each in self.balancers]
        for state in states:
            state.in_flight += 40
        self.simulation.after(
            self.rng.uniform(0.2, 1.5), lambda: [setattr(s, "in_flight", s.in_flight - 40) for s in states]
        )

    def _crowd(self, server: Server) -> None:
        # Too many sessions live there, so that some of ours move.
        for _ in range(12):
            for balancer in self.balancers:
                state = balancer.states[server.name]
                balancer.group.relief._demand.surplus[state] = 20.0
                balancer.group.relief._idle_s[state] = 0.1
                for each in balancer.states.values():
                    share = 1 / len(balancer.states)
                    balancer.group.relief._demand._shares[each] = share
                    balancer.group.relief._demand._rates[each] = 60.0 if each is state else 10.0
                balancer.group.relief._budget.fill(1.0, self.simulation.now_s)

    def _revoke(self, server: Server) -> None:
        if not server.is_up:
            return
        user, begun_s = self.rng.choice(["ann", "bob"]), self.simulation.now_s
        waits = self.rng.random() < 0.5

        def done(answer: Any) -> None:
            if answer != "done":
                self.revocations.append((user, server.store.name, begun_s, inf, False))
                return
            ended_s = self.simulation.now_s + (wait_s(server.link) if waits else 0.0)
            self.revocations.append((user, server.store.name, begun_s, ended_s, waits))

        async def revoke() -> str:
            await server.sessions.arevoke_user(user)
            return "done"

        # Should it die half-way, it may have been done all the same.
        self.revocations.append((user, server.store.name, begun_s, inf, False))
        server.do(revoke(), done)

    def _tell(self, act: Callable[[Balancer], None]) -> None:
        for balancer in self.balancers:
            self.simulation.soon(lambda each=balancer: act(each))  # type: ignore[misc]

    def _heal(self) -> None:
        for server in self.servers.values():
            self._start(server)
            server.link.heal()
            for balancer in self.balancers:
                balancer.set_health(server.name, Health.HEALTHY)
                balancer.leave(server.name, is_leaving=False)

    def _note_ends(self) -> None:
        for user, store, begun_s, done_s, waits in self.revocations:
            for login, (whose, sent_s, left_s, where) in self.logins.items():
                if whose != user or sent_s > done_s or where not in ("", store):
                    continue
                is_sure = left_s <= begun_s and where == store
                self.history.ends.append(
                    End(
                        login=login,
                        begun_s=begun_s,
                        done_s=done_s if is_sure else inf,
                        has_waited=waits and is_sure,
                    )
                )


class Browser:
    """One user's browser: a jar, and some tabs."""

    def __init__(self, world: World, user: str) -> None:
        self.world = world
        self.user = user
        self.jar: dict[str, str] = {}
        self.in_flight = 0
        self.is_logging_in = False
        #: Which login each session cookie is of, as the responses that brought them have said.
        self.logins: dict[str, str] = {}
        self.balancer = world.rng.randrange(2)

    def begin(self) -> None:
        self._next()

    def _next(self) -> None:
        world = self.world
        if world.is_calm:
            return
        # The first request is alone: a browser knows the site before it opens tabs.
        if self.in_flight < (_TABS if COOKIE in self.jar else 1):
            if world.rng.random() < 0.3:
                self.balancer = 1 - self.balancer
            self.send(self._wish(), self.balancer)
        world.simulation.after(world.rng.expovariate(2.0), self._next)

    def _wish(self) -> str:
        dice = self.world.rng.random()
        if self._shown():
            return "log out" if dice < 0.05 else "write" if dice < 0.45 else "read"
        if dice < 0.6 and COOKIE in self.jar and not self.is_logging_in:
            return "log in"
        return "write" if dice < 0.75 else "read"

    def _shown(self) -> str:
        return self.logins.get(self.jar.get("session", ""), "")

    def send(self, kind: str, balancer: int) -> None:
        """Send a request."""
        world, shown, sent_s = self.world, self._shown(), self.world.simulation.now_s
        method = "GET" if kind == "read" else "POST"
        number = next(world.numbers)
        name = _cookie_name(world)
        session = self.jar.get("session")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": "/",
            "client": ("10.0.0.1", 1),
            "own_headers": [(b"cookie", f"{name}={session}".encode())] if session else [],
            "kind": kind,
            "user": self.user,
            "seen": {},
            "mark": number,
            "new_login": f"{self.user}{number}",
        }
        if kind == "write":
            world.history.written[number] = sent_s
        if kind == "log in":
            self.is_logging_in = True
            world.logins[scope["new_login"]] = [self.user, sent_s, inf, ""]
        if kind == "log out" and shown:
            world.history.ends.append(End(login=shown, begun_s=sent_s))
        pairs = [f"{COOKIE}={self.jar[COOKIE]}"] if COOKIE in self.jar else []
        pairs += [f"{name}={session}"] if session else []
        head = request_head(
            method.encode(),
            b"/",
            "; ".join(pairs).encode(),
            f"10.0.0.{len(self.user)}{self.user[0] == 'a':d}",
        )
        self.in_flight += 1

        def done(reply: Reply) -> None:
            is_lost = world.rng.random() < 0.07 and not world.is_calm
            arrives_s = inf if is_lost else world.simulation.now_s + world.simulation.delay_s(0.15)
            self._record(scope, reply, kind, shown, sent_s, arrives_s)
            world.simulation.at(
                world.simulation.now_s + 0.5 if is_lost else arrives_s,
                lambda: self._arrive(reply, kind, is_lost=is_lost),
            )

        def begin() -> None:
            world.balancers[balancer].forward(head, scope, done)

        world.simulation.soon(begin)

    def _record(
        self, scope: dict[str, Any], reply: Reply, kind: str, shown: str, sent_s: float, arrives_s: float
    ) -> None:
        world, seen = self.world, scope["seen"]
        if shown and world.logins[shown][3] not in scope["stores"]:
            world.stranded.add(shown)
        if reply.status not in {200, 303}:
            return
        left_s, store = scope["left_s"], world.servers[scope["server"]].store.name
        world.history.answers.append(
            Answer(
                browser=self.user,
                kind=kind,
                server=scope["server"],
                sent_s=sent_s,
                begun_s=scope["begun_s"],
                left_s=left_s,
                arrived_s=arrives_s,
                shown=shown,
                login=seen["login"],
                marks=seen["marks"],
                count=seen["count"],
                mark=seen.get("mark", 0),
                is_excused=shown in world.stranded,
            )
        )
        login = seen["login"]
        if "new_login" in seen:
            login = seen["new_login"]
            world.logins[login][2:] = [left_s, store]
        if kind == "log out" and seen["login"]:
            world.history.ends.append(End(login=seen["login"], begun_s=sent_s, done_s=left_s))
        cookie = reply.cookies.get(_cookie_name(world))
        if cookie is not None:
            self.logins[cookie] = login

    def _arrive(self, reply: Reply, kind: str, *, is_lost: bool) -> None:
        self.in_flight -= 1
        if kind == "log in":
            self.is_logging_in = False
        if is_lost:
            return
        for name, value in reply.cookies.items():
            key = name if name == COOKIE else "session"
            if value is None:
                self.jar.pop(key, None)
            else:
                self.jar[key] = value


def _cookie_name(world: World) -> str:
    return next(iter(world.servers.values())).sessions.cookie.full_name


def play(seed: int) -> History:
    """Return the history of a seed."""
    return World(seed).run()
