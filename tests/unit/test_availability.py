"""Which targets may take requests."""

import pytest

from limpet.core.address import Address
from limpet.core.availability import availability
from limpet.core.target import Health, Target, TargetState

H, U, NEW, D, M, V = (
    Health.HEALTHY,
    Health.UNHEALTHY,
    Health.INITIAL,
    Health.DRAINING,
    Health.MAINTENANCE,
    Health.UNAVAILABLE,
)


def judge(*rows):
    states = []
    for name, health, weight, is_backup in rows:
        address = Address(host="127.0.0.1", port=1)
        state = TargetState(Target(id=name, address=address, weight=weight, is_backup=is_backup))
        state.health = health
        states.append(state)
    verdict = availability(states)
    new = "".join(state.id for state in verdict.new_sessions)
    return new, "".join(sorted(verdict.keeps_sessions)), verdict.is_failing_open


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", H, 1, False), ("b", H, 1, False)], ("ab", "ab", False)),
        ([("a", H, 1, False), ("b", U, 1, False)], ("a", "a", False)),
        ([("a", H, 0, False), ("b", H, 1, False)], ("b", "ab", False)),
        ([("a", H, 1, False), ("b", H, 1, True)], ("a", "ab", False)),
        ([("a", U, 1, False), ("b", H, 1, True)], ("b", "b", False)),
        ([("a", U, 1, False), ("b", NEW, 1, False)], ("ab", "ab", True)),
        ([("a", U, 1, False), ("b", U, 1, True)], ("a", "ab", True)),
        ([("a", NEW, 1, False), ("b", D, 1, False)], ("a", "a", True)),
        ([("a", U, 1, False), ("b", M, 1, False)], ("a", "a", True)),
        ([("a", D, 1, False), ("b", M, 1, False)], ("", "", False)),
        ([("a", V, 1, False), ("b", U, 1, False)], ("a", "a", False)),
        ([("a", H, 0, False)], ("", "a", False)),
        ([("a", H, 0, False), ("b", H, 1, True)], ("b", "ab", False)),
        ([], ("", "", False)),
    ],
)
def test_availability(rows, expected):
    assert judge(*rows) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", 1, False, True), ("b", 1, False, False)], "b"),
        ([("a", 1, False, True), ("b", 1, True, False)], "b"),
        ([("a", 1, False, True), ("b", 0, False, False)], "a"),
        ([("a", 1, False, True), ("b", 1, True, True)], "a"),
        ([("a", 0, False, True)], ""),
    ],
)
def test_who_terminates_gets_new_sessions_only_if_nobody_else_can(rows, expected):
    states = []
    for name, weight, is_backup, is_terminating in rows:
        target = Target(
            id=name,
            address=Address(host="127.0.0.1", port=1),
            weight=weight,
            is_backup=is_backup,
            is_terminating=is_terminating,
        )
        states.append(TargetState(target))
        states[-1].health = H
    verdict = availability(states)
    assert "".join(state.id for state in verdict.new_sessions) == expected
    assert verdict.keeps_sessions == {state.id for state in states}
