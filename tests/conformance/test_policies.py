"""One suite over every policy: what all of them must do."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import limpet.core.balancing
from limpet.core.address import Address
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.clock import Now
from limpet.core.request import FieldBlock, RequestHead
from limpet.core.target import Target, TargetState

NOW = Now(0, 0)


def make(weights, in_flight=()):
    made = []
    for index, weight in enumerate(weights):
        target = Target(id=f"t{index}", address=Address(host="127.0.0.1", port=1), weight=weight)
        made.append(TargetState(target))
    for state, count in zip(made, in_flight, strict=False):
        state.in_flight = count
    return made


def request(client_ip="10.0.0.1", headers=()):
    return RequestHead(b"GET", b"/", FieldBlock(list(headers)), client_ip)


@pytest.fixture(params=POLICIES)
def policy(request):
    return POLICIES[request.param](PolicySettings())


def test_every_file_is_in_the_table_under_its_own_name():
    files = {path.stem for path in Path(limpet.core.balancing.__file__).parent.glob("*.py")}
    assert files - {"__init__", "policy"} == set(POLICIES)
    for name, make_policy in POLICIES.items():
        assert make_policy(PolicySettings()).name == name


@given(st.data())
def test_the_pick_is_one_of_the_targets(data):
    name = data.draw(st.sampled_from(sorted(POLICIES)))
    policy = POLICIES[name](PolicySettings())
    weights = data.draw(st.lists(st.floats(0.05, 1000), min_size=1, max_size=8))
    targets = make(weights, data.draw(st.lists(st.integers(0, 50), min_size=8, max_size=8)))
    rng = Random(data.draw(st.integers(0, 9)))
    for _ in range(5):
        policy.charge(data.draw(st.sampled_from(targets)))
        chosen = policy.pick(targets, request(data.draw(st.text(max_size=5))), NOW, rng)
        assert any(chosen is target for target in targets)


def test_a_lone_target_gets_everything(policy):
    targets = make([3], [100])
    assert policy.pick(targets, request(), NOW, Random(1)) is targets[0]


def test_shares_follow_the_weights(policy):
    targets = make([1, 2, 5])
    rng = Random(3)
    counts = Counter(
        policy.pick(targets, request(f"10.{i // 250}.0.{i % 250}"), NOW, rng).id for i in range(8000)
    )
    if policy.name == "power_of_two":
        # Two different targets are drawn, so a big one's share is cut: it cannot be drawn twice.
        assert counts["t2"] > counts["t1"] > counts["t0"]
        return
    for target, share in zip(targets, [1000, 2000, 5000], strict=True):
        assert abs(counts[target.id] - share) < 0.1 * share + 30


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6))
def test_least_outstanding_requests_is_least(in_flight):
    targets = make([1] * len(in_flight), in_flight)
    policy = POLICIES["least_outstanding_requests"](PolicySettings())
    assert policy.pick(targets, request(), NOW, Random(1)).in_flight == min(in_flight)


def test_least_outstanding_requests_breaks_ties_by_chance():
    policy = POLICIES["least_outstanding_requests"](PolicySettings())
    targets = make([1, 1, 1], [2, 2, 5])
    rng = Random(5)
    counts = Counter(policy.pick(targets, request(), NOW, rng).id for _ in range(1000))
    assert set(counts) == {"t0", "t1"}
    assert min(counts.values()) > 400


def test_power_of_two_never_takes_the_busiest():
    policy = POLICIES["power_of_two"](PolicySettings())
    targets = make([1, 1, 1], [0, 1, 9])
    rng = Random(5)
    assert {policy.pick(targets, request(), NOW, rng).id for _ in range(300)} == {"t0", "t1"}


@pytest.mark.parametrize("name", ["rendezvous", "bounded_rendezvous"])
def test_only_the_keys_of_a_removed_target_move(name):
    policy = POLICIES[name](PolicySettings(load_bound=100))
    targets = make([1, 2, 1, 3])
    requests = [request(f"10.1.{i // 200}.{i % 200}") for i in range(2000)]
    before = [policy.pick(targets, r, NOW, Random(1)).id for r in requests]
    after = [policy.pick(targets[:2] + targets[3:], r, NOW, Random(1)).id for r in requests]
    moved = [old for old, new in zip(before, after, strict=True) if old != new]
    assert moved
    assert set(moved) == {"t2"}


def test_rendezvous_hashes_a_header_or_else_the_address():
    policy = POLICIES["rendezvous"](PolicySettings(hash_header=b"x-tenant"))
    targets = make([1] * 8)
    one = {
        policy.pick(targets, request(f"10.0.0.{i}", [(b"x-tenant", b"a")]), NOW, Random(1)).id
        for i in range(50)
    }
    many = {policy.pick(targets, request(f"10.0.0.{i}"), NOW, Random(1)).id for i in range(50)}
    assert len(one) == 1
    assert len(many) > 4


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.integers(0, 1000))
def test_bounded_rendezvous_keeps_its_bound(in_flight, client):
    bound = 1.25
    policy = POLICIES["bounded_rendezvous"](PolicySettings(load_bound=bound))
    targets = make([1] * len(in_flight), in_flight)
    chosen = policy.pick(targets, request(str(client)), NOW, Random(1))
    fair = (sum(in_flight) + 1) / len(in_flight)
    assert chosen.in_flight + 1 <= int(bound * fair) + 1
