"""First visits: who joins whom, and for how long."""

import pytest

from limpet.core.clock import Now
from limpet.core.request import FieldBlock, RequestHead
from limpet.core.stickiness import first_visits
from limpet.core.stickiness.first_visits import LINGER_S, MAX_AGE_S, MAX_REQUESTS, FirstVisits

BROWSER = b"Mozilla/5.0 (X11; Linux x86_64)"


def request(*, client="10.0.0.1", host=b"shop", agent=BROWSER, language=b"de", path=b"/", method=b"GET"):
    headers = [(b"user-agent", agent), (b"accept-language", language)]
    return RequestHead(method, path, FieldBlock(headers, host=host), client)


def visits():
    numbers = iter(range(1, 10**6))
    return FirstVisits(lambda size: next(numbers).to_bytes(size))


def at(mono_s):
    return Now(0, mono_s)


def test_what_a_browser_repeats_joins_whatever_it_asks_for():
    going_on = visits()
    first = going_on.enter(request(), at(0))
    assert going_on.enter(request(path=b"/api", method=b"POST"), at(0)) is first


@pytest.mark.parametrize(
    "other", [{"client": "10.0.0.2"}, {"host": b"blog"}, {"agent": BROWSER + b" x"}, {"language": b"fr"}]
)
def test_another_client_does_not_join(other):
    going_on = visits()
    assert going_on.enter(request(), at(0)) is not going_on.enter(request(**other), at(0))


def test_a_visit_is_small():
    going_on = visits()
    entered = [going_on.enter(request(), at(0)) for _ in range(3 * MAX_REQUESTS)]
    assert len({visit.ticket_id for visit in entered}) == 3


@pytest.mark.parametrize(
    ("agent", "later_s", "joins"),
    [(BROWSER, LINGER_S - 0.01, True), (BROWSER, LINGER_S, False), (b"curl/8", 0.0, False)],
)
def test_only_a_browser_may_be_late(agent, later_s, joins):
    going_on = visits()
    first = going_on.enter(request(agent=agent), at(1))
    going_on.leave(first, at(5))
    assert (going_on.enter(request(agent=agent), at(5 + later_s)) is first) is joins


def test_an_unanswered_visit_ends():
    going_on = visits()
    first = going_on.enter(request(), at(0))
    assert going_on.enter(request(), at(MAX_AGE_S)) is first
    assert going_on.enter(request(), at(MAX_AGE_S + 0.1)) is not first


def test_a_visit_that_was_replaced_may_still_end():
    going_on = visits()
    old = going_on.enter(request(), at(0))
    new = going_on.enter(request(), at(MAX_AGE_S + 1))
    going_on.leave(old, at(MAX_AGE_S + 2))
    assert (old.in_flight, new.in_flight) == (0, 1)


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(first_visits, "MAX_VISITS", 3)
    going_on = visits()
    first = [going_on.enter(request(client=str(number)), at(0)) for number in range(4)]
    assert len(going_on._visits) == 3
    assert going_on.enter(request(client="3"), at(0)) is first[3]
    assert going_on.enter(request(client="0"), at(0)) is not first[0]
