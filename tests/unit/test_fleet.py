"""The simulation of a fleet, in its tiniest form: it drives the core, and counts what that decides."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fleet
from limpet.core.route import MAX_CANDIDATES, route
from limpet.core.stickiness.contract import StickyStatus

EXTENT = fleet.Extent(
    targets=10, users=300, balancers=1, skew=0.5, service_s=0.1, settle_s=30.0, counted_s=10.0, seed=1
)


def simulated(mode: str) -> dict[str, float]:
    simulation = fleet.Simulation(EXTENT, mode)
    simulation.run()
    return fleet.figures(simulation, EXTENT, took_s=1.0)


def test_relief_spreads_what_stickiness_leaves_on_half_of_the_targets() -> None:
    sticky, relief, stateless = (simulated(mode) for mode in ("sticky", "relief", "stateless"))
    assert sticky["busiest_to_mean"] > 1.7
    assert sticky["same_target_percent"] == 100
    assert relief["p99_ms"] < sticky["p99_ms"] / 10
    assert relief["p99_ms"] <= 2 * stateless["p99_ms"]
    assert relief["busiest_to_mean"] < sticky["busiest_to_mean"] - 0.3
    assert relief["same_target_percent"] > 80 > 2 * stateless["same_target_percent"]
    # The same users ask at the same times, whatever becomes of them.
    assert sticky["requests"] == relief["requests"] == stateless["requests"]
    assert relief["requests"] > 2000
    assert 100 < relief["ticket_bytes"] < 300


def test_memory_is_reckoned_by_target_and_by_session() -> None:
    books = fleet.memory(EXTENT, 1000)
    assert 100 < books["bytes_per_target"] < 5000
    assert 200 < books["bytes_per_session"] < 2000
    assert books["mib"] * 2**20 > 1000 * books["bytes_per_session"]


def test_a_decision_among_many_targets_remembers_few_of_them() -> None:
    many = replace(EXTENT, targets=3 * MAX_CANDIDATES)
    group = fleet.group_of(fleet.Fleet(many), "relief", fleet.sealing_of(1))
    for number in range(20):
        decision = route(group, fleet.head_of(number, b""), fleet.now_of(0), Random(number))
        assert decision.target is not None
        assert MAX_CANDIDATES <= len(decision.candidates) <= MAX_CANDIDATES + 1
        assert decision.target.id in {candidate.target_id for candidate in decision.candidates}


def test_a_busy_target_among_many_finds_somebody_who_is_not() -> None:
    many = replace(EXTENT, targets=200, users=6000, settle_s=8.0, counted_s=1.0, service_s=0.5)
    simulation = fleet.Simulation(many, "relief")
    simulation.run()
    assert simulation.tally.events[StickyStatus.LENT] > 10
    assert simulation.tally.events[StickyStatus.MOVED] > 5
