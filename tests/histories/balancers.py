"""Simulated balancers around the real `limpet.core.route`, with tickets and tables of their own.

What the data plane does with a decision is repeated here in order, and without sockets: see `proxy.exchange`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from checker import Move, Outage

from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.availability import availability
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.key_ring import KeyRing
from limpet.core.logouts import may_tell, suspect
from limpet.core.model import TargetGroup
from limpet.core.relief.relief import Relief
from limpet.core.relief.settings import ReliefSettings
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.route import bind_response, finish, has_news, reroute, route, take_state
from limpet.core.session_state import STATE_FIELD, STORE_IS_DOWN, format_moved, parse_state
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.target import Health, Target, TargetState

if TYPE_CHECKING:
    from collections.abc import Callable

    from checker import History
    from servers import Server
    from simulation import Simulation

RING = KeyRing([b"k" * 32])
COOKIE = "limpet"
_STATE = STATE_FIELD.lower().encode()
_MAX_ATTEMPTS = 3


@dataclass(slots=True)
class Reply:
    """What the browser gets: a status, and cookies by name; None for one that is to be forgotten."""

    status: int
    cookies: dict[str, str | None] = field(default_factory=dict)


class Balancer:
    """One process of limpet.

    Args:
        servers: by the names of the targets that they run as.
        history: where moves are recorded.
    """

    def __init__(
        self, name: str, servers: dict[str, Server], simulation: Simulation, history: History, *, checks: bool
    ) -> None:
        self.name = name
        self._servers = servers
        self._simulation = simulation
        self._history = history
        self._checks = checks
        self.states = {each: self._state(each) for each in servers}
        self.group = TargetGroup(
            name="web",
            by_id=self.states,
            available=(),
            policy=POLICIES["round_robin"](PolicySettings()),
            stickiness=KINDS["lb_cookie"](
                StickinessSettings(group="web", cookie_name=COOKIE), Sealing(RING, simulation.entropy)
            ),
            sessions=ActiveSessions(300),
            relief=Relief(ReliefSettings(moves_per_minute=60.0)),
        )
        self._publish()

    def _state(self, name: str) -> TargetState:
        state = TargetState(Target(id=name, address=Address(host="127.0.0.1", port=1)))
        state.health = Health.HEALTHY
        state.checked_fingerprint = self._servers[name].fingerprint if self._checks else ""
        return state

    # What control does.

    def set_health(self, name: str, health: Health) -> None:
        self.states[name].health = health
        self._publish()

    def leave(self, name: str, *, is_leaving: bool) -> None:
        state = self.states[name]
        state.target = replace(state.target, is_terminating=is_leaving)
        self._publish()

    def tick(self) -> None:
        self.group.relief.tick(self.group, self._simulation.now_s)

    def _publish(self) -> None:
        verdict = availability(self.states.values())
        for state in self.states.values():
            state.takes_sticky = state.id in verdict.keeps_sessions
        self.group = replace(self.group, available=verdict.new_sessions)

    # A request.

    def forward(self, head: RequestHead, scope: dict[str, Any], done: Callable[[Reply], None]) -> None:
        """Forward a request; `scope` is what the server gets."""
        Forwarding(self, head, scope, done)


class Forwarding:
    """One request on its way."""

    def __init__(
        self, balancer: Balancer, head: RequestHead, scope: dict[str, Any], done: Callable[[Reply], None]
    ) -> None:
        self._balancer = balancer
        self._head = head
        self._scope = scope
        self._done = done
        self._tried: set[str] = set()
        simulation = balancer._simulation
        self._decision = route(balancer.group, head, simulation.now, simulation.rng)
        self._session = self._decision.session
        if self._session is not None:
            self._session.begin()
        self._dispatch()

    def _dispatch(self) -> None:
        decision, balancer = self._decision, self._balancer
        target = decision.target
        usable = {each.id for each in balancer.group.available}  # the others take no new session
        home = decision.finding.target_id
        if home is not None and balancer.states[home].takes_sticky:
            usable.add(home)
        stores = {each: balancer._servers[each].store.name for each in usable - self._tried}
        self._scope["stores"] = set(stores.values())
        if target is None:
            self._end(Reply(503))
            return
        if decision.moved is not None:
            self._note_move(target.id, stores)
        target.requests += 1
        target.begin()
        self._target = target
        session = decision.session
        fields = [(b"limpet-floor", session.floor_line.split(b" ", 1)[1].strip() if session else b"0")]
        if decision.moved is not None:
            fields.append((b"limpet-moved", format_moved(decision.moved).encode()))
        self._scope["headers"] = [*self._scope["own_headers"], *fields]
        balancer._simulation.soon(self._connect)

    def _note_move(self, goal: str, stores: dict[str, str]) -> None:
        balancer, decision = self._balancer, self._decision
        assert decision.moved is not None
        home = balancer.states[decision.moved.origin]
        origin = balancer._servers[home.id].store.name
        others = {store for name, store in stores.items() if name != home.id}
        balancer._history.moves.append(
            Move(
                at_s=balancer._simulation.now_s,
                balancer=balancer.name,
                is_free=home.takes_sticky and home.id not in self._tried,
                origin=origin,
                goal=balancer._servers[goal].store.name,
                has_equal=origin in others,
                is_pinned=decision.session is not None and not decision.session.is_portable,
            )
        )

    def _connect(self) -> None:
        server = self._balancer._servers[self._target.id]
        if not server.is_up:
            self._retry()
            return
        # It may die any time: then nobody knows what became of the request.
        self._process = server.link
        self._is_over = False
        self._scope["begun_s"] = self._balancer._simulation.now_s
        self._scope["server"] = server.name
        server.serve(self._scope, self._answered)
        self._watch(server)

    def _watch(self, server: Server) -> None:
        if self._is_over:
            return
        if server.is_up and server.link is self._process:
            self._balancer._simulation.after(0.2, lambda: self._watch(server))
        else:
            self._leave()
            self._end(Reply(502))

    def _retry(self) -> None:
        simulation = self._balancer._simulation
        self._tried.add(self._target.id)
        self._leave()
        again = None
        if len(self._tried) < _MAX_ATTEMPTS:
            again = reroute(
                self._decision, self._balancer.group, self._head, self._tried, simulation.now, simulation.rng
            )
        if again is None:
            self._end(Reply(502))
            return
        self._decision = again
        self._dispatch()

    def _answered(self, messages: list[Any]) -> None:
        self._is_over = True
        self._scope["left_s"] = self._balancer._simulation.now_s
        self._balancer._simulation.soon(lambda: self._relay(messages))

    def _relay(self, messages: list[Any]) -> None:
        self._leave()
        if not messages:
            self._end(Reply(502))
            return
        start = messages[0]
        values = [value for name, value in start["headers"] if name == _STATE]
        state = parse_state(values[0]) if values else None
        headers = [(name, value) for name, value in start["headers"] if name != _STATE]
        response = ResponseHead(start["status"], headers, state)
        cookies = [value for name, value in headers if name == b"set-cookie"]
        decision, simulation = self._decision, self._balancer._simulation
        if may_tell(self._head, response):
            if decision.session is not None:
                suspect(decision.session, self._head, response, decision.status, simulation.now_s)
            if state is not None:
                if not state.is_portable and state.why == STORE_IS_DOWN:
                    self._balancer._history.outages.append(
                        Outage(at_s=simulation.now_s, balancer=self._balancer.name)
                    )
                take_state(decision, state, self._scope["begun_s"], simulation.now_s)
        if not decision.finding.is_settled or has_news(decision):
            cookies += bind_response(decision, self._head, response, simulation.now).set_cookies
        self._end(Reply(start["status"], dict(map(_cookie, cookies))))

    def _leave(self) -> None:
        self._is_over = True
        self._target.end()

    def _end(self, reply: Reply) -> None:
        if self._session is not None:
            self._session.in_flight -= 1
        finish(self._decision, self._balancer._simulation.now)
        self._done(reply)


def _cookie(line: bytes) -> tuple[str, str | None]:
    pair, *attributes = line.decode().split("; ")
    name, _, value = pair.partition("=")
    return name, None if "Max-Age=0" in attributes else value


def request_head(method: bytes, path: bytes, cookie: bytes, client_ip: str) -> RequestHead:
    """Return a browser's request."""
    headers = [(b"cookie", cookie), (b"user-agent", b"Mozilla/5.0")]
    return RequestHead(method, path, FieldBlock(headers, host=b"site", cookie=cookie), client_ip)
