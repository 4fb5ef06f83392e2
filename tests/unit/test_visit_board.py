"""Workers see each other's first visits, and never half of one."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from limpet.core.clock import Now
from limpet.core.request import FieldBlock, RequestHead
from limpet.core.stickiness.first_visits import LINGER_S, MAX_AGE_S, MAX_REQUESTS, FirstVisits
from limpet.proxy.visit_board import WORKER_BYTES, VisitBoard

BROWSER = b"Mozilla/5.0 (X11)"


def request(agent: bytes = BROWSER, client_ip: str = "10.0.0.1") -> RequestHead:
    return RequestHead(b"GET", b"/", FieldBlock([(b"user-agent", agent)], host=b"shop.example"), client_ip)


@dataclass
class Pair:
    memory: memoryview
    one: FirstVisits
    two: FirstVisits


def pair(group: str = "web", other_group: str = "web") -> Pair:
    memory = memoryview(bytearray(2 * WORKER_BYTES))
    made = []
    for worker, name in enumerate((group, other_group)):
        visits = FirstVisits(os.urandom)
        visits.others = VisitBoard(memory, worker, 2, name)
        made.append(visits)
    return Pair(memory, *made)


def begin(visits: FirstVisits, at_s: float = 100.0, target: str = "A", **client):
    visit = visits.enter(request(**client), Now(0, at_s))
    if visit.target_id is None:
        visits.place(visit, target)
    return visit


def test_a_visit_is_joined_by_the_other_worker() -> None:
    both = pair()
    first = begin(both.one)
    second = begin(both.two, target="B")
    assert (second.target_id, second.ticket_id, second.is_joined) == ("A", first.ticket_id, True)
    # What was joined is told by the worker that began it, and by nobody else.
    third = begin(both.one, client_ip="10.0.0.2", target="C")
    assert (third.target_id, third.is_joined) == ("C", False)


@pytest.mark.parametrize(
    ("agent", "after_s", "is_joined"),
    [(BROWSER, LINGER_S - 0.1, True), (BROWSER, LINGER_S + 0.1, False), (b"curl/8", 0.1, False)],
)
def test_an_answered_visit_lingers_for_browsers_only(agent: bytes, after_s: float, is_joined: bool) -> None:
    both = pair()
    first = begin(both.one, agent=agent)
    both.one.leave(first, Now(0, 101.0))
    assert begin(both.two, 101.0 + after_s, "B", agent=agent).is_joined is is_joined


def test_an_unanswered_visit_does_not_last_for_ever() -> None:
    both = pair()
    begin(both.one)
    assert not begin(both.two, 100.0 + MAX_AGE_S + 1, "B").is_joined


def test_each_worker_lets_so_many_join() -> None:
    both = pair()
    begin(both.one)
    joined = [begin(both.two, target="B").is_joined for _ in range(MAX_REQUESTS + 1)]
    assert joined[:MAX_REQUESTS] == [True] * MAX_REQUESTS


def test_groups_and_clients_do_not_meet() -> None:
    both = pair("web", "api")
    begin(both.one)
    assert not begin(both.two, target="B").is_joined
    same = pair()
    begin(same.one)
    assert not begin(same.two, target="B", client_ip="10.0.0.2").is_joined


def test_what_is_being_written_is_not_read() -> None:
    both = pair()
    begin(both.one)
    numbers = both.memory.cast("q")
    for number in range(0, len(numbers), 20):
        numbers[number] += 1  # as if a writer were in the middle of each slot
    assert not begin(both.two, target="B").is_joined


def test_a_name_that_is_too_long_is_not_told() -> None:
    both = pair()
    begin(both.one, target="x" * 80)
    assert not begin(both.two, target="B").is_joined
