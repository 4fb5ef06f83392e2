"""Smooth weighted round robin: nginx's sequence, and what pinned requests do to it."""

import json
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from limpet.core.address import Address
from limpet.core.balancing.policy import PolicySettings
from limpet.core.balancing.round_robin import MAX_DEBT_ROUNDS, RoundRobin
from limpet.core.clock import Now
from limpet.core.request import FieldBlock, RequestHead
from limpet.core.target import Target, TargetState

TESTS = Path(__file__).parents[2]
RECORDED = json.loads((TESTS / "data/nginx_smooth_wrr.json").read_text())
REQUEST = RequestHead(b"GET", b"/", FieldBlock([]))
NOW = Now(0, 0)
RNG = Random(1)


def states(weights):
    names = "ABCDEFGHIJ"
    made = []
    for name, weight in zip(names, weights, strict=False):
        made.append(TargetState(Target(id=name, address=Address(host="127.0.0.1", port=1), weight=weight)))
    return made


def picks(policy, targets, count):
    return [targets.index(policy.pick(targets, REQUEST, NOW, RNG)) for _ in range(count)]


@pytest.mark.parametrize("vector", RECORDED["vectors"], ids=lambda vector: str(vector["weights"]))
def test_chooses_what_nginx_chose(vector):
    policy = RoundRobin(PolicySettings())
    targets = states(vector["weights"])
    assert picks(policy, targets, len(vector["choices"])) == vector["choices"]


def test_a_running_nginx_still_chooses_what_was_recorded():
    sys.path.insert(0, str(TESTS / "recorders"))
    try:
        import nginx_smooth_wrr
    finally:
        sys.path.pop(0)
    for vector in RECORDED["vectors"][1:4]:
        assert nginx_smooth_wrr.record(vector["weights"]) == vector["choices"]


def test_new_sessions_go_to_the_targets_with_fewer_pinned_requests():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1, 1])
    for _ in range(4):
        policy.charge(targets[0])
    chosen = Counter(picks(policy, targets, 8))
    # 12 requests in all: each target had its share of 4, counting the 4 pinned to the first.
    assert chosen == {1: 4, 2: 4}


def test_a_million_pinned_requests_do_not_starve_a_target():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1, 1])
    for _ in range(1_000_000):
        policy.charge(targets[0])
    chosen = picks(policy, targets, 3 * (MAX_DEBT_ROUNDS + 1))
    assert 0 in chosen


def test_charging_costs_the_same_for_any_number_of_targets():
    class Watched(dict):
        touched = 0

        def get(self, *args):
            Watched.touched += 1
            return super().get(*args)

    policy = RoundRobin(PolicySettings())
    targets = states([1] * 10)
    picks(policy, targets, 10)
    policy._charges = Watched()
    policy._balances = Watched(policy._balances)
    policy.charge(targets[3])
    assert Watched.touched == 1


def test_a_target_that_was_away_brings_no_turns_back():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1, 1])
    picks(policy, targets, 3)
    assert Counter(picks(policy, targets[:2], 100)) == {0: 50, 1: 50}
    back = picks(policy, targets, 9)
    assert Counter(back) == {0: 3, 1: 3, 2: 3}


def test_a_changed_weight_counts_from_the_next_pick():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1])
    picks(policy, targets, 4)
    targets[0].weight = 3
    assert Counter(picks(policy, targets, 40)) == {0: 30, 1: 10}


def test_slow_start_weights_may_be_fractions():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1])
    targets[0].weight = 0.1
    chosen = Counter(picks(policy, targets, 110))
    assert abs(chosen[0] - 10) <= 1


def test_the_books_stay_balanced():
    policy = RoundRobin(PolicySettings())
    targets = states([5, 2, 1])
    rng = Random(7)
    for _ in range(500):
        if rng.random() < 0.6:
            policy.charge(rng.choice(targets))
        else:
            policy.pick(targets, REQUEST, NOW, RNG)
    policy.pick(targets, REQUEST, NOW, RNG)
    assert sum(policy._balances.values()) == pytest.approx(0, abs=1e-9)


def test_equal_numbers_of_pinned_requests_cancel_out():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1, 1])
    chosen = Counter()
    for _ in range(300):
        for target in targets:
            for _ in range(30):
                policy.charge(target)
        chosen += Counter(picks(policy, targets, 1))
    assert chosen == {0: 100, 1: 100, 2: 100}


def test_a_robot_that_never_stops_does_not_starve_its_target():
    policy = RoundRobin(PolicySettings())
    targets = states([1, 1, 1])
    chosen = []
    for _ in range(300):
        for _ in range(50):
            policy.charge(targets[0])
        chosen += picks(policy, targets, 1)
    rounds_without = max(len(gap) for gap in "".join(map(str, chosen)).split("0")) / 3
    assert rounds_without < 2.5 * MAX_DEBT_ROUNDS


def test_smaller_weights_mean_the_same_turns():
    policy = RoundRobin(PolicySettings())
    targets = states([1000, 999])
    picks(policy, targets, 7)
    for target in targets:
        target.weight = 1
    assert Counter(picks(policy, targets, 20)) == {0: 10, 1: 10}
