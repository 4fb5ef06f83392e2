"""The checker finds each kind of violation, in histories made by hand, and none where there is none."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from checker import Answer, End, History, Move, Outage, Violation, check


def answer(
    sent_s: float, marks: tuple[int, ...] = (), *, login: str = "ann1", took_s: float = 0.5, **more: Any
) -> Answer:
    times = {"begun_s": sent_s + 0.1, "left_s": sent_s + 0.2, "arrived_s": sent_s + took_s}
    seen = {"shown": "ann1", "login": login, "marks": frozenset(marks), "count": len(marks)}
    return Answer(
        **{"browser": "ann", "kind": "read", "server": "A", "sent_s": sent_s, **times, **seen, **more}
    )


def move(at_s: float, **more: Any) -> Move:
    return Move(**{"at_s": at_s, "balancer": "one", "is_free": True, "origin": "x", "goal": "x", **more})


def history(*answers: Answer, **more: Any) -> History:
    return History(answers=list(answers), written=dict.fromkeys(range(1, 9), 0.0), **more)


WRITE = answer(1, mark=1)
BAD = {
    "a read misses what was written": (history(WRITE, answer(2), answer(3, (1,))), {Violation.STALE_READ}),
    "nobody ever sees the write": (history(WRITE, answer(2), answer(3)), {Violation.LOST_WRITE}),
    "a read goes back": (history(answer(1, (1, 2)), answer(2, (1,))), {Violation.BACKWARDS}),
    "a read is ahead of the write": (
        History(answers=[answer(1, (1,))], written={1: 1.3}),
        {Violation.PHANTOM},
    ),
    "nobody has written it": (History(answers=[answer(1, (1,))]), {Violation.PHANTOM}),
    "a commit was done twice": (history(answer(1, (1,), count=2)), {Violation.TORN}),
    "a commit was done in part": (history(answer(1, (), count=1)), {Violation.TORN}),
    "in beyond the bound": (
        history(answer(5), ends=[End(login="ann1", begun_s=3, done_s=4)]),
        {Violation.RESURRECTED},
    ),
    "in after a revocation that has waited": (
        history(answer(4), ends=[End(login="ann1", begun_s=2, done_s=4, has_waited=True)]),
        {Violation.RESURRECTED},
    ),
    "out for no reason": (history(answer(1, login="")), {Violation.LOGGED_OUT}),
    "out before the end": (
        history(answer(1, login=""), ends=[End(login="ann1", begun_s=2, done_s=3)]),
        {Violation.LOGGED_OUT},
    ),
    "served as somebody else": (history(answer(1, login="bob2")), {Violation.LOGGED_OUT}),
    "moved to another store for balance": (
        history(moves=[move(1, goal="y", has_equal=False)]),
        {Violation.OTHER_STORE},
    ),
    "moved to another store beside one of the same": (
        history(moves=[move(1, goal="y", is_free=False)]),
        {Violation.OTHER_STORE},
    ),
    "a pinned session moved": (history(moves=[move(1, is_pinned=True)]), {Violation.PINNED_MOVED}),
    "moved in an outage": (
        history(moves=[move(6)], outages=[Outage(at_s=2, balancer="one")]),
        {Violation.MOVED_IN_OUTAGE},
    ),
}
GOOD = {
    "a write, a read": history(WRITE, answer(2, (1,))),
    "they overlap": history(answer(1, mark=1, took_s=5), answer(2)),
    "the answer to the write is lost": history(answer(1, mark=1, arrived_s=inf), answer(2)),
    "reads overlap": history(answer(1, (1, 2), took_s=5), answer(2, (1,))),
    "another login has other marks": history(WRITE, answer(2, login="ann2", shown="ann2")),
    "in within the bound": history(answer(4), ends=[End(login="ann1", begun_s=3, done_s=4)]),
    "began before the end": history(
        answer(3.85), ends=[End(login="ann1", begun_s=3, done_s=4, has_waited=True)]
    ),
    "nobody knows whether it was ended": history(answer(9), ends=[End(login="ann1", begun_s=3)]),
    "out for it was ended": history(answer(4, login=""), ends=[End(login="ann1", begun_s=3)]),
    "out for nobody could serve it": history(answer(1, login="", is_excused=True)),
    "moved to another store for want of a better": history(
        moves=[move(1, goal="y", is_free=False, has_equal=False)]
    ),
    "a pinned session whose server has died": history(moves=[move(1, is_free=False, is_pinned=True)]),
    "moved after an outage": history(moves=[move(8)], outages=[Outage(at_s=2, balancer="one")]),
    "moved while another balancer knows of an outage": history(
        moves=[move(6)], outages=[Outage(at_s=2, balancer="two")]
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found(name: str) -> None:
    bad, expected = BAD[name]
    assert {each.violation for each in check(bad)} == expected


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_left_alone(name: str) -> None:
    assert check(GOOD[name]) == []


def test_there_is_a_bad_history_for_each_violation() -> None:
    assert set.union(*(expected for _, expected in BAD.values())) == set(Violation)
