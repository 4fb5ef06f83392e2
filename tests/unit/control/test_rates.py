"""Rates and times that the dashboard makes of counters."""

import random

import pytest

from limpet.control.dashboard.rates import look, quantile, rates, sticky_counts
from limpet.core.stickiness.contract import StickyStatus
from limpet.proxy.counters import (
    BUCKETS_S,
    DURATION_S,
    FIRST_BUCKET,
    FIRST_RESPONSE_BUCKET,
    RESPONSE_S,
    Outcome,
)

WIDTH = len(BUCKETS_S) + 1


def outcome(target="A", status=200, sticky=StickyStatus.BOUND, group="web"):
    return Outcome(group, target, status, sticky, None, 0)


def row(requests, response_s=0.004):
    """Return the row of some requests whose responses took as long as that."""
    made = [0.0] * (FIRST_RESPONSE_BUCKET + WIDTH)
    bucket = next(place for place, bound in enumerate(BUCKETS_S) if response_s <= bound)
    made[FIRST_BUCKET + bucket] = made[FIRST_RESPONSE_BUCKET + bucket] = requests
    made[DURATION_S] = made[RESPONSE_S] = requests * response_s
    return made


def test_rates_are_what_was_added_over_the_time_between():
    before = look(100.0, 10, {outcome(): row(10)})
    after = look(102.0, 37, {outcome(): row(30), outcome(status=503): row(4), outcome("B"): row(2, 0.2)})
    found = rates(before, after)
    assert (found["over_s"], found["requests_per_s"]) == (2.0, 13.5)
    web = found["groups"]["web"]
    assert (web["requests_per_s"], web["server_errors_per_s"]) == (13.0, 2.0)
    assert web["targets"]["A"]["requests_per_s"] == 12.0
    assert web["targets"]["A"]["response_ms"]["mean"] == 4.0
    assert web["targets"]["B"]["response_ms"]["mean"] == 200.0
    assert 100 < web["targets"]["B"]["response_ms"]["median"] <= 250


def test_a_target_without_a_response_has_no_times():
    rows = {outcome(): row(3)}
    found = rates(look(1.0, 3, rows), look(2.0, 3, rows))
    assert found["groups"]["web"]["targets"]["A"] == {
        "requests_per_s": 0.0,
        "server_errors_per_s": 0.0,
        "response_ms": None,
    }


def test_counts_that_a_dead_worker_took_along_are_no_negative_rate():
    found = rates(look(1.0, 9, {outcome(): row(9)}), look(2.0, 4, {outcome(): row(4)}))
    assert found["requests_per_s"] == found["groups"]["web"]["requests_per_s"] == 0


def test_requests_without_a_target_count_for_their_group_only():
    found = rates(
        look(0.0, 0, {}), look(1.0, 5, {outcome("", 503): row(5), outcome("", 400, None, ""): row(7)})
    )
    assert found["groups"]["web"]["server_errors_per_s"] == 5
    assert (found["groups"]["web"]["targets"], list(found["groups"])) == ({}, ["web"])


def test_sticky_statuses_are_added_up_by_group():
    rows = {
        outcome(): row(3),
        outcome("B"): row(4),
        outcome(sticky=StickyStatus.ABSENT): row(1),
        outcome("", 400, None, ""): row(1),
    }
    assert sticky_counts(rows) == {"web": {"bound": 7, "absent": 1}}


@pytest.mark.parametrize("seed", range(20))
def test_an_estimated_time_is_in_the_bucket_of_the_true_one(seed):
    rng = random.Random(seed)
    times = sorted(rng.lognormvariate(-4, 2) for _ in range(rng.randint(1, 400)))
    buckets = [0] * WIDTH
    for time_s in times:
        buckets[next((at for at, bound in enumerate(BUCKETS_S) if time_s <= bound), WIDTH - 1)] += 1
    for share in (0.5, 0.99):
        true_s = times[max(0, -int(-len(times) * share // 1) - 1)]
        above = next((bound for bound in BUCKETS_S if true_s <= bound), BUCKETS_S[-1])
        below = max((bound for bound in BUCKETS_S if bound < true_s), default=0.0)
        assert below <= quantile(buckets, share) <= above
