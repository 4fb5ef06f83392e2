"""The policy at the size of a fleet: 10,000 targets, 10 million users, the very code of `limpet.core`.

Half of the targets have taken all logins when the other half comes up, and requests come at 60 % of what all
can serve. `limpet.core` decides everything that it decides in a balancer: it reads and seals real
tickets, places new sessions, lends requests and moves sessions. Simulated are time, the targets (one
request at a time, 500 ms each, first come first served), what their responses say of sessions, and the
users: by Zipf's law, and drawn lazily. Who comes for the first time has logged in a minute ago at a target of
the first half, through the balancer that he still uses and that remembers him. There are no sockets, no
processes, no failures. Several balancers have each their share of the users, and see nothing of the others'.

The same traffic goes through three ways: as it is, with relief off (plain stickiness), and without
stickiness to the better of two random targets.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hot_lab.report import percentile
from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.clock import Now
from limpet.core.key_ring import KEY_BYTES, KeyRing
from limpet.core.model import TargetGroup
from limpet.core.relief.relief import Relief
from limpet.core.relief.settings import ReliefSettings
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.route import bind_response, finish, route, take_state
from limpet.core.session_state import Floor, SessionState
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.stickiness.ticket import Ticket, seal, version_of
from limpet.core.target import Health, Target, TargetState

if TYPE_CHECKING:
    from limpet.core.route import Decision

_GROUP = "web"
_WALL_S = 1_800_000_000.0
_UTILISATION = 0.6
_WRITE_SHARE = 0.05
#: Of requests: logins of users who were never there.
_NEWCOMER_SHARE = 0.002
#: How often time passes for relief, as in a balancer.
_TICK_S = 0.25
_LOGIN_AGO_S = 60
_FINGERPRINT = "0123456789abcdef"
_HEADERS = [(b"host", b"shop.example.com"), (b"accept", b"text/html")]
MODES = ("relief", "sticky", "stateless")


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is simulated.

    Attributes:
        service_s: what a request takes, one at a time.
        settle_s, counted_s: simulated time before and while it counts.
    """

    targets: int
    users: int
    balancers: int
    skew: float
    service_s: float
    settle_s: float
    counted_s: float
    seed: int

    @property
    def rate(self) -> float:
        """Requests per second of all users."""
        return _UTILISATION * self.targets / self.service_s


@dataclass(slots=True)
class Under:
    """A request under way.

    Attributes:
        decision: of the balancer.
        server: number of the target.
    """

    arrived_s: float
    user: int
    balancer: int
    head: RequestHead
    decision: Decision
    server: int
    is_write: bool


@dataclass
class Tally:
    """What was seen while it counts, and what was seen at all.

    Attributes:
        served: requests by number of the target.
        last: target that gave a user's answer before.
        events: sticky statuses of all requests.
    """

    waits_s: list[float] = field(default_factory=list)
    served: Counter[int] = field(default_factory=Counter)
    events: Counter[StickyStatus] = field(default_factory=Counter)
    counted_events: Counter[StickyStatus] = field(default_factory=Counter)
    last: dict[int, int] = field(default_factory=dict)
    answers: int = 0
    same: int = 0
    set_cookies: int = 0
    newcomers: int = 0
    newcomers_to_new: int = 0
    ticket_bytes: int = 0


class Fleet:
    """The targets as they are: queues that all balancers fill."""

    def __init__(self, extent: Extent) -> None:
        self.names = [f"target-{number}" for number in range(extent.targets)]
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self.free_s = [0.0] * extent.targets
        self._service_s = extent.service_s

    def enter(self, number: int, now_s: float) -> float:
        """Queue a request; return when it is answered."""
        self.free_s[number] = max(now_s, self.free_s[number]) + self._service_s
        return self.free_s[number]


def group_of(fleet: Fleet, mode: str, sealing: Sealing) -> TargetGroup:
    """Return what one balancer knows of the fleet."""
    states = [TargetState(Target(id=name, address=Address("192.0.2.1", 80))) for name in fleet.names]
    for state in states:
        state.health = Health.HEALTHY
        state.takes_sticky = True
        state.checked_fingerprint = _FINGERPRINT
    kind = "off" if mode == "stateless" else "lb_cookie"
    return TargetGroup(
        name=_GROUP,
        by_id={state.id: state for state in states},
        available=tuple(states),
        policy=POLICIES["power_of_two"](PolicySettings()),
        stickiness=KINDS[kind](StickinessSettings(group=_GROUP), sealing),
        sessions=ActiveSessions(300.0),
        relief=Relief(ReliefSettings(is_on=mode == "relief")),
    )


def sealing_of(seed: int) -> Sealing:
    """Return what makes tickets, the same for one seed."""
    return Sealing(KeyRing([bytes(KEY_BYTES)]), Random(seed).randbytes)


def head_of(user: int, cookie: bytes) -> RequestHead:
    """Return a request of a user."""
    headers = [*_HEADERS, (b"cookie", cookie)] if cookie else _HEADERS
    return RequestHead(b"GET", b"/", FieldBlock(headers, host=b"shop.example.com", cookie=cookie), str(user))


class Users:
    """Users and their cookies; of those who have come."""

    def __init__(self, extent: Extent, fleet: Fleet, sealing: Sealing, rng: Random) -> None:
        self._extent = extent
        self._fleet = fleet
        self._sealing = sealing
        self._rng = rng
        self._power = 1 / (1 - extent.skew)
        self._newcomers = count(extent.users)
        self._jars: dict[int, bytes] = {}
        self.versions: dict[int, int] = {}

    def draw(self) -> int:
        """Return who comes; one who was never there has a number above all others."""
        rng = self._rng
        if rng.random() < _NEWCOMER_SHARE:
            return next(self._newcomers)
        # The inverse of Zipf's distribution function, continuous: right to a rank or two.
        return int(self._extent.users * rng.random() ** self._power)

    def cookie(self, user: int) -> bytes:
        """Return the Cookie field that he brings; b"" for none."""
        return self._jars.get(user, b"")

    def is_known(self, user: int) -> bool:
        """Whether he has come since his login."""
        return user in self._jars

    def log_in(self, user: int) -> Ticket:
        """Return the ticket of a login in the past, when only the first half was up; it is in the jar now."""
        # Ranks and homes are not related.
        home = user * 2_654_435_761 % (1 << 32) % (self._extent.targets // 2)
        ticket = Ticket(
            ticket_id=user.to_bytes(16, "big"),
            target_id=self._fleet.names[home],
            group=_GROUP,
            issued_at_s=int(_WALL_S) - _LOGIN_AGO_S,
            last_seen_s=int(_WALL_S) - _LOGIN_AGO_S,
            session_version=version_of(Floor(1)),
        )
        self._jars[user] = b"limpet=" + seal(ticket, self._sealing.ring, self._sealing.entropy)
        return ticket

    def keep(self, user: int, set_cookie: bytes) -> int:
        """Keep a cookie; return the length of its value."""
        pair = set_cookie.partition(b";")[0]
        self._jars[user] = pair
        return len(pair.partition(b"=")[2])


class Simulation:
    """One way of balancing, from the moment at which the other half of the targets comes up."""

    def __init__(self, extent: Extent, mode: str) -> None:
        self._extent = extent
        self._rng = Random(extent.seed)
        sealing = sealing_of(extent.seed)
        self._fleet = Fleet(extent)
        self._groups = [group_of(self._fleet, mode, sealing) for _ in range(extent.balancers)]
        self._users = Users(extent, self._fleet, sealing, Random(extent.seed))
        self._balancers_rng = Random(extent.seed)
        self._answers: list[tuple[float, int, Under]] = []
        self._numbers = count()
        self.tally = Tally()

    def run(self) -> None:
        """Simulate it all."""
        extent, arrivals = self._extent, Random(self._extent.seed)
        now_s = tick_s = 0.0
        while now_s < extent.settle_s + extent.counted_s:
            now_s += arrivals.expovariate(extent.rate)
            while tick_s <= now_s:
                self._answer_until(tick_s)
                for group in self._groups:
                    group.relief.tick(group, tick_s)
                tick_s += _TICK_S
            self._answer_until(now_s)
            self._ask(now_s)

    @property
    def sessions(self) -> list[int]:
        """How many sessions each balancer remembers."""
        return [len(group.sessions) for group in self._groups]

    def _ask(self, now_s: float) -> None:
        user = self._users.draw()
        balancer = user * 40_503 % self._extent.balancers
        group = self._groups[balancer]
        if user < self._extent.users and not self._users.is_known(user):
            self._remember(group, self._users.log_in(user), now_s)
        cookie = self._users.cookie(user)
        headers = [*_HEADERS, (b"cookie", cookie)] if cookie else _HEADERS
        head = RequestHead(
            b"GET", b"/", FieldBlock(headers, host=b"shop.example.com", cookie=cookie), str(user)
        )
        decision = route(group, head, now_of(now_s), self._balancers_rng)
        target = decision.target
        assert target is not None
        target.begin()
        target.requests += 1
        if decision.session is not None:
            decision.session.begin()
        self._count(decision, target, now_s, is_new=not cookie)
        number = self._fleet.numbers[target.id]
        is_write = self._rng.random() < _WRITE_SHARE
        under = Under(now_s, user, balancer, head, decision, number, is_write)
        heappush(self._answers, (self._fleet.enter(number, now_s), next(self._numbers), under))

    def _remember(self, group: TargetGroup, ticket: Ticket, now_s: float) -> None:
        # As if the balancer had seen the login, and its answer.
        if group.stickiness.kind == "off":
            return
        home = group.by_id[ticket.target_id]
        then_s = now_s - _LOGIN_AGO_S
        session = group.sessions.touch(ticket.ticket_id, home, then_s)
        session.take(SessionState(True, 1, _FINGERPRINT, has_user=True), then_s, then_s)

    def _count(self, decision: Decision, target: TargetState, now_s: float, *, is_new: bool) -> None:
        tally = self.tally
        tally.events[decision.status] += 1
        if now_s >= self._extent.settle_s:
            tally.counted_events[decision.status] += 1
        if is_new:
            tally.newcomers += 1
            tally.newcomers_to_new += self._fleet.numbers[target.id] >= self._extent.targets // 2

    def _answer_until(self, now_s: float) -> None:
        while self._answers and self._answers[0][0] <= now_s:
            done_s, _, under = heappop(self._answers)
            self._answer(under, done_s)

    def _answer(self, under: Under, now_s: float) -> None:
        users, decision = self._users, under.decision
        version = users.versions.get(under.user, 1) + under.is_write
        if under.is_write:
            users.versions[under.user] = version
        state = SessionState(True, version, _FINGERPRINT, has_user=True)
        session, target = decision.session, decision.target
        assert target is not None
        if session is None or state != session.state:
            take_state(decision, state, under.arrived_s, now_s)
        binding = bind_response(decision, under.head, ResponseHead(200, [], state), now_of(now_s))
        finish(decision, now_of(now_s))
        target.end()
        if session is not None:
            session.in_flight -= 1
        size = users.keep(under.user, binding.set_cookies[0]) if binding.set_cookies else 0
        self._note(under, now_s, size)

    def _note(self, under: Under, now_s: float, ticket_bytes: int) -> None:
        tally = self.tally
        if now_s >= self._extent.settle_s:
            tally.waits_s.append(now_s - under.arrived_s)
            tally.served[under.server] += 1
            tally.set_cookies += ticket_bytes > 0
            last = tally.last.get(under.user)
            if last is not None:
                tally.answers += 1
                tally.same += last == under.server
        tally.last[under.user] = under.server
        tally.ticket_bytes = max(tally.ticket_bytes, ticket_bytes)


def now_of(now_s: float) -> Now:
    """Return a simulated instant."""
    return Now(_WALL_S + now_s, now_s)


def figures(simulation: Simulation, extent: Extent, took_s: float) -> dict[str, Any]:
    """Return what a simulation comes to."""
    tally = simulation.tally
    mean = len(tally.waits_s) / extent.targets
    shares = sorted(tally.served[number] / mean for number in range(extent.targets))
    moved = sum(tally.counted_events[each] for each in (StickyStatus.MOVED, StickyStatus.TARGET_LEAVING))
    total = sum(tally.counted_events.values())
    in_all = sum(tally.events.values())
    return {
        "requests": in_all,
        "busiest_to_mean": shares[-1],
        "p99_target_to_mean": percentile(shares, 99),
        "p1_target_to_mean": percentile(shares, 1),
        "p50_ms": 1e3 * percentile(tally.waits_s, 50),
        "p99_ms": 1e3 * percentile(tally.waits_s, 99),
        "p999_ms": 1e3 * percentile(tally.waits_s, 99.9),
        "same_target_percent": 100 * tally.same / max(1, tally.answers),
        "moves_percent_per_minute": 6000 * moved / len(tally.last) / extent.counted_s,
        "lent_percent": 100 * tally.counted_events[StickyStatus.LENT] / total,
        "set_cookie_percent": 100 * tally.set_cookies / len(tally.waits_s),
        "newcomers_to_new_percent": 100 * tally.newcomers_to_new / max(1, tally.newcomers),
        "users_seen": len(tally.last),
        "sessions_per_balancer": max(simulation.sessions),
        "ticket_bytes": tally.ticket_bytes,
        "us_per_request": 1e6 * took_s / in_all,
        "cpu_s": took_s,
    }


#: Key in the figures, words for it.
ROWS = (
    ("requests", "requests simulated"),
    ("users_seen", "users who came"),
    ("busiest_to_mean", "busiest target / mean"),
    ("p99_target_to_mean", "99th of 100 targets / mean"),
    ("p1_target_to_mean", "1st of 100 targets / mean"),
    ("p50_ms", "wait p50 ms"),
    ("p99_ms", "wait p99 ms"),
    ("p999_ms", "wait p99.9 ms"),
    ("same_target_percent", "same target %"),
    ("moves_percent_per_minute", "moves, % of sessions a minute"),
    ("lent_percent", "lent requests %"),
    ("set_cookie_percent", "Set-Cookie %"),
    ("newcomers_to_new_percent", "newcomers to new targets %"),
    ("sessions_per_balancer", "sessions remembered by a balancer"),
    ("ticket_bytes", "longest ticket, bytes"),
    ("us_per_request", "CPU us per request, all simulated parts too"),
    ("cpu_s", "CPU s"),
)


def memory(extent: Extent, sessions: int) -> dict[str, float]:
    """Measure what a balancer's books take: bytes per target, per session, and MiB of all."""
    sealing = sealing_of(extent.seed)
    tracemalloc.start()
    fleet = Fleet(extent)
    before = tracemalloc.get_traced_memory()[0]
    group = group_of(fleet, "relief", sealing)
    group.relief.tick(group, 0.0)
    group.relief.tick(group, 2.0)
    of_targets = tracemalloc.get_traced_memory()[0] - before
    states = list(group.by_id.values())
    for number in range(sessions):
        state = SessionState(True, number, _FINGERPRINT, has_user=True)
        group.sessions.touch(number.to_bytes(16, "big"), states[number % len(states)], 0.0).take(
            state, 0.0, 0.0
        )
    of_sessions = tracemalloc.get_traced_memory()[0] - before - of_targets
    tracemalloc.stop()
    return {
        "bytes_per_target": of_targets / extent.targets,
        "bytes_per_session": of_sessions / sessions,
        "mib": (of_targets + of_sessions) / 2**20,
    }


def main() -> None:
    """Simulate what the command line asks for."""
    options = _arguments()
    extent = Extent(
        targets=options.targets,
        users=options.users,
        balancers=options.balancers,
        skew=options.skew,
        service_s=options.service,
        settle_s=options.settle,
        counted_s=options.counted,
        seed=options.seed,
    )
    results: dict[str, dict[str, Any]] = {}
    for mode in options.modes.split(","):
        began_s = time.process_time()
        simulation = Simulation(extent, mode)
        simulation.run()
        results[mode] = figures(simulation, extent, time.process_time() - began_s)
    table = Table(title=f"{extent.targets} targets, {extent.users} users, {extent.balancers} balancers")
    table.add_column()
    for mode in results:
        table.add_column(mode, justify="right")
    for key, words in ROWS:
        table.add_row(words, *(f"{one[key]:.4g}" for one in results.values()))
    console = Console(width=None if os.isatty(1) else 120)
    console.print(table)
    books = memory(extent, max(one["sessions_per_balancer"] for one in results.values()) or 1)
    console.print(
        f"a balancer's books: {books['bytes_per_target']:.0f} bytes a target, "
        f"{books['bytes_per_session']:.0f} bytes a session, {books['mib']:.0f} MiB in all"
    )
    if options.json:
        facts = {"extent": vars(extent), "memory": books, "modes": results}
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--targets", type=int, default=10_000)
    add("--users", type=int, default=10_000_000)
    add("--balancers", type=int, default=1)
    add("--skew", type=float, default=0.8, help="exponent of Zipf's law, below 1 (default: 0.8)")
    add("--service", type=float, default=0.5, metavar="SECONDS", help="of a request (default: 0.5)")
    add("--settle", type=float, default=40.0, metavar="SECONDS", help="simulated, before it counts")
    add("--counted", type=float, default=20.0, metavar="SECONDS", help="simulated, that count")
    add("--seed", type=int, default=1)
    add("--modes", default=",".join(MODES), metavar="A,B", help=f"of {', '.join(MODES)}")
    add("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
