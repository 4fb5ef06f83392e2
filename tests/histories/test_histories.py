"""Seeded histories of browsers, balancers, servers and stores, each judged by the checker.

pytest tests/histories                          some of them
pytest tests/histories --histories 100000       more
pytest tests/histories --history-seed 851       one, printed
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from checker import Answer, Found, History, check
from world import World, play

if TYPE_CHECKING:
    import pytest

HISTORIES = 600
_BLOCKS = 2


def test_nobody_loses_anything_in_thousands_of_histories(
    request: pytest.FixtureRequest, seeds_of_block: range
) -> None:
    seed = request.config.getoption("--history-seed", default=None)
    if seed is not None:
        _print(seed, play(seed))
    seeds = seeds_of_block if seed is None else [seed]
    bad = {seed: found for seed in seeds if (found := check(play(seed)))}
    for seed, found in bad.items():
        print(f"\nhistory {seed}; again: pytest tests/histories --history-seed {seed}")
        for each in found[:3]:
            _tell(each)
    assert sorted(bad) == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds_of_block" in metafunc.fixturenames:
        count = metafunc.config.getoption("--histories", default=None) or HISTORIES
        size = -(-count // _BLOCKS)
        blocks = [range(at, min(at + size, count)) for at in range(0, count, size)]
        metafunc.parametrize(
            "seeds_of_block", blocks, ids=[f"{each.start} to {each.stop - 1}" for each in blocks]
        )


def test_a_seed_is_always_the_same_history() -> None:
    assert play(7) == play(7)


def test_much_happens_in_these_histories() -> None:
    """A world in which nothing goes wrong would prove nothing."""
    met: Counter[str] = Counter()
    for seed in range(60):
        world = World(seed)
        history = world.run()
        met.update(_what_happened(history))
        for balancer in world.balancers:
            met["lent"] += sum(state.lent for state in balancer.states.values())
        for server in world.servers.values():
            met["copies"] += server.sessions.events.near.get("hits", 0)
            met["below the floor"] += server.sessions.events.near.get("bypasses", 0)
    few = {name: met[name] for name in _WANTED if met[name] < 5}
    assert few == {}, met


_WANTED = [
    "moved freely",
    "moved from what cannot serve",
    "lent",
    "copies",
    "below the floor",
    "outages",
    "acknowledged writes",
    "lost answers",
    "revocations that wait",
    "served as logged in",
    "overtaken by a later request",
]


def _what_happened(history: History) -> Counter[str]:
    answers = history.answers
    met = Counter({"outages": len(history.outages)})
    for move in history.moves:
        met["moved freely" if move.is_free else "moved from what cannot serve"] += 1
    for each in answers:
        met["acknowledged writes"] += bool(each.mark)
        met["lost answers"] += each.arrived_s == float("inf")
        met["served as logged in"] += bool(each.login)
        met["overtaken by a later request"] += any(_overtakes(other, each) for other in answers)
    met["revocations that wait"] = sum(each.has_waited for each in history.ends)
    return met


def _overtakes(other: Answer, answer: Answer) -> bool:
    is_same = other.browser == answer.browser
    return is_same and other.sent_s > answer.sent_s and other.arrived_s < answer.arrived_s


def _print(seed: int, history: History) -> None:
    print(f"\nhistory {seed}")
    events = [(each.left_s, each) for each in history.answers]
    events += [(each.at_s, each) for each in (*history.moves, *history.outages)]  # type: ignore[misc]
    events += [(each.begun_s, each) for each in history.ends]  # type: ignore[misc]
    for at_s, event in sorted(events, key=lambda each: each[0]):
        print(f"  {at_s:.3f} {event}")


def _tell(found: Found) -> None:
    print(f"  {found.violation.value}:")
    for each in found.evidence:
        print(f"    {each}")
