"""What the parts of a request's decision cost, each alone: nanoseconds per call.

No sockets, no event loop: the sum of these is what limpet adds to the work of the kernel and
of the loop. "Repeated" input is the same as in the call before, as from a client that sends
its fields word for word again; "varied" input was not seen lately, so nothing is remembered.
"""

from __future__ import annotations

import os
import time
import timeit
from functools import partial
from itertools import cycle
from random import Random
from typing import TYPE_CHECKING

from lab.messages import MANY_SESSIONS, browser_heads
from lab.tables import print_table
from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.clock import Now
from limpet.core.key_ring import KEY_BYTES, KeyRing
from limpet.core.model import ClientLimits, TargetGroup
from limpet.core.route import bind_response, finish, route
from limpet.core.rules.actions.forward import Forward, WeightedGroup
from limpet.core.rules.conditions.header import Header
from limpet.core.rules.conditions.host import Host
from limpet.core.rules.conditions.path import Path
from limpet.core.rules.conditions.path_prefix import PathPrefix
from limpet.core.rules.rule import Rule
from limpet.core.rules.table import RuleTable
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal
from limpet.core.target import Health, Target, TargetState
from limpet.proxy.http1.request import Request, RequestReader, edit_request, parse_request
from limpet.proxy.http1.response import Response, ResponseReader, parse_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.rules.rule import Condition
    from limpet.core.stickiness.contract import Stickiness

_GROUP = "default"
_TARGETS = ("a", "b", "c", "d", "e")
_NOW = Now(time.time(), time.monotonic())
_LIMITS = ClientLimits()
_SEALING = Sealing(KeyRing([os.urandom(KEY_BYTES)]), os.urandom)
_ADDED = (
    b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: shop.example.com\r\nX-Forwarded-Port: 8080\r\n"
    b"X-Forwarded-Proto: http\r\nForwarded: for=192.0.2.7\r\nX-Request-Id: 0123456789ab-1\r\n"
)
_RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 09:30:00 GMT\r\nContent-Type: text/html\r\n"
    b"Content-Length: 300\r\nConnection: keep-alive\r\nCache-Control: private\r\n\r\n"
)


def main() -> None:
    """Time every case and print the table."""
    values = [seal(_ticket(number), _SEALING.ring, os.urandom) for number in range(MANY_SESSIONS)]
    heads = browser_heads([f"limpet={value.decode()}" for value in values])
    cases = _ticket_cases(values) | _message_cases(heads) | _route_cases(heads) | _rule_cases(heads)
    rows = [{"what": what, "ns": _ns_per_call(case)} for what, case in cases.items()]
    print_table((("what", "one core, no I/O"), ("ns", "ns per call")), rows)


def _ns_per_call(case: Callable[[], object]) -> float:
    timer = timeit.Timer(case, timer=time.process_time)  # whatever else the machine does meanwhile
    number, _ = timer.autorange()
    return min(timer.repeat(repeat=5, number=number)) / number * 1e9


def _ticket_cases(values: list[bytes]) -> dict[str, Callable[[], object]]:
    ticket = _ticket(0)
    return {
        "ticket: seal": lambda: seal(ticket, _SEALING.ring, os.urandom),
        "ticket: open": lambda: open_ticket(values[0], _SEALING.ring),
    }


def _message_cases(heads: list[bytes]) -> dict[str, Callable[[], object]]:
    varied = cycle(heads)
    own_cookies = _stickiness().own_cookies
    requests = RequestReader(_LIMITS)
    responses = ResponseReader()

    def read_and_edit(head: bytes) -> None:
        request = requests.read(head, "192.0.2.7")
        assert request is not None
        edit_request(request, own_cookies, _ADDED)

    return {
        "request head: read and edit, repeated": lambda: read_and_edit(heads[0]),
        "request head: read and edit, varied": lambda: read_and_edit(next(varied)),
        "response head: read, repeated": lambda: responses.read(_RESPONSE, b"GET"),
        "response head: read, varied": lambda: parse_response(_RESPONSE, b"GET"),
    }


def _route_cases(heads: list[bytes]) -> dict[str, Callable[[], object]]:
    group = _group()
    known = _parsed(heads[0])
    varied = cycle([_parsed(head) for head in heads])
    new = _parsed(browser_heads([])[0])
    response = _answer()
    rng = Random(1)

    def first_visit() -> None:
        decision = route(group, new, _NOW, rng)
        bind_response(decision, new, response, _NOW)
        finish(decision, _NOW)

    return {
        "stickiness: find, repeated": lambda: group.stickiness.find(known, group.by_id, _NOW),
        "stickiness: find, varied": lambda: group.stickiness.find(next(varied), group.by_id, _NOW),
        "route: pinned, repeated": lambda: route(group, known, _NOW, rng),
        "route: pinned, varied": lambda: route(group, next(varied), _NOW, rng),
        "route, bind and finish: first visit": first_visit,
    }


def _rule_cases(heads: list[bytes]) -> dict[str, Callable[[], object]]:
    known = _parsed(heads[0])
    odd = _parsed(heads[0].replace(b"/account/orders", b"/account//caf%C3%A9/%2e./orders"))
    kinds: dict[str, Callable[[str, str], tuple[Condition, ...]]] = {
        "host and path prefix": lambda host, part: (
            Host((f"{host}.example.com",)),
            PathPrefix((f"/{part}",)),
        ),
        "one host, path prefix": lambda _, part: (Host(("shop.example.com",)), PathPrefix((f"/{part}",))),
        "path wildcard": lambda _, part: (Path((f"*{part}*",)),),
        "header": lambda _, part: (Header({"Referer": (f"*{part}*",)}),),
    }
    cases: dict[str, Callable[[], object]] = {}
    for what, conditions in kinds.items():
        for count in (1, 50):
            table = _rules(count, conditions)
            assert table.plain(known) is not None
            cases[f"rules: {count} by {what}"] = partial(table.plain, known)
    cases["rules: 50 by host and path prefix, odd path"] = partial(
        _rules(50, kinds["host and path prefix"]).plain, odd
    )
    return cases


def _at(host: str, part: str) -> tuple[Condition, ...]:
    return Host((f"{host}.example.com",)), PathPrefix((f"/{part}",))


def _rules(count: int, conditions: Callable[[str, str], tuple[Condition, ...]]) -> RuleTable:
    # The last of them is the only one that matches.
    places = [(f"host-{number}", f"part-{number}") for number in range(count - 1)] + [("shop", "account")]
    forward = Forward((WeightedGroup(_GROUP, 1),))
    return RuleTable(
        tuple(Rule(f"rule-{n}", conditions(*place), forward) for n, place in enumerate(places)), ""
    )


def _ticket(number: int) -> Ticket:
    return Ticket(
        ticket_id=number.to_bytes(16, "big"),
        target_id=_TARGETS[number % len(_TARGETS)],
        group=_GROUP,
        issued_at_s=int(_NOW.wall_s),
        last_seen_s=int(_NOW.wall_s),
    )


def _stickiness() -> Stickiness:
    return KINDS["lb_cookie"](StickinessSettings(group=_GROUP), _SEALING)


def _group() -> TargetGroup:
    states = [TargetState(Target(id=name, address=Address("127.0.0.1", 80))) for name in _TARGETS]
    for state in states:
        state.health = Health.HEALTHY
        state.takes_sticky = True
    return TargetGroup(
        name=_GROUP,
        by_id={state.id: state for state in states},
        available=tuple(states),
        policy=POLICIES["round_robin"](PolicySettings()),
        stickiness=_stickiness(),
        sessions=ActiveSessions(300.0),
    )


def _parsed(head: bytes) -> Request:
    request = parse_request(head, _LIMITS)
    assert request is not None
    return request


def _answer() -> Response:
    response = parse_response(_RESPONSE, b"GET")
    assert response is not None
    return response


if __name__ == "__main__":
    main()
