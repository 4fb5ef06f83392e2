"""The health of a target: every transition of the table, and no other."""

import pytest

from limpet.core.address import Address
from limpet.core.target import Health, Target, TargetState
from limpet.core.target_health import (
    HealthThresholds,
    observe_check,
    observe_failed_request,
    recover_unchecked,
)

THRESHOLDS = HealthThresholds(healthy=2, unhealthy=3, passive=2)
FIXED = [Health.DRAINING, Health.UNUSED, Health.MAINTENANCE, Health.UNAVAILABLE]


def state(health):
    made = TargetState(Target(id="A", address=Address(host="127.0.0.1", port=1)))
    made.health = health
    return made


def check(target, results):
    return [observe_check(target, THRESHOLDS, is_success=result, detail="seen") for result in results]


@pytest.mark.parametrize(
    ("before", "results", "after"),
    [
        (Health.INITIAL, [True], Health.HEALTHY),
        (Health.INITIAL, [False, False], Health.INITIAL),
        (Health.INITIAL, [False, False, False], Health.UNHEALTHY),
        (Health.HEALTHY, [False, False], Health.HEALTHY),
        (Health.HEALTHY, [False, False, True, False, False], Health.HEALTHY),
        (Health.HEALTHY, [False, False, False], Health.UNHEALTHY),
        (Health.UNHEALTHY, [True], Health.UNHEALTHY),
        (Health.UNHEALTHY, [True, False, True], Health.UNHEALTHY),
        (Health.UNHEALTHY, [True, True], Health.HEALTHY),
        *[(health, [True] * 5, health) for health in FIXED],
        *[(health, [False] * 5, health) for health in FIXED],
    ],
)
def test_checks(before, results, after):
    target = state(before)
    changes = check(target, results)
    assert target.health is after
    assert any(changes) == (before is not after)
    assert not any(changes[:-1])


def test_failed_requests_in_a_row_mark_a_target():
    target = state(Health.HEALTHY)
    target.failures = 1
    assert not observe_failed_request(target, THRESHOLDS, detail="refused")
    target.failures = 2
    assert observe_failed_request(target, THRESHOLDS, detail="refused")
    assert target.health is Health.UNHEALTHY


def test_a_passive_threshold_of_zero_never_marks():
    target = state(Health.HEALTHY)
    target.failures = 1000
    assert not observe_failed_request(target, HealthThresholds(passive=0), detail="refused")


def test_a_target_nobody_checks_gets_another_chance_in_time():
    target = state(Health.UNHEALTHY)
    target.failures = 7
    assert not recover_unchecked(target, unhealthy_for_s=9.9, recovery_s=10)
    assert recover_unchecked(target, unhealthy_for_s=10, recovery_s=10)
    assert target.health is Health.UNAVAILABLE
    assert target.failures == 0
