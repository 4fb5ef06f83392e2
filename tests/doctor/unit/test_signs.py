"""What separates causes that look alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from seen_kit import arm, seen

from limpet.doctor import signs

if TYPE_CHECKING:
    from limpet.doctor.evidence import Arm


def at_once(kept: int, lost: int, login: int) -> Arm:
    return replace(arm("F", "." * kept + "X" * lost, login=login), note="confirmation, at once")


@pytest.mark.parametrize(
    ("first", "second", "is_odd"),
    [
        ((20, 4), (4, 20), True),  # in everywhere but on the odd one, and there alone
        ((6, 18), (6, 18), False),  # each knows its own
        ((11, 13), (2, 22), False),  # uneven shares: together much less than all
        ((16, 8), (15, 9), False),
    ],
)
def test_logins_that_lose_differently(first: tuple[int, int], second: tuple[int, int], is_odd: bool) -> None:
    evidence = seen(arm("F", "X.X.X."), at_once(*first, login=3), at_once(*second, login=4))
    assert signs.odd_replica(evidence) == is_odd


def test_visits_one_by_one_prove_no_difference_between_logins() -> None:
    # A worker of several may take nearly all of them.
    evidence = seen(arm("F", "." * 20 + "X" * 4), arm("F", "." * 4 + "X" * 20, login=2))
    assert not signs.odd_replica(evidence)


def test_youth_needs_a_session_that_recovers() -> None:
    young = arm("F", "XX.XXX", step_s=0.1)
    older = replace(arm("F", "." * 14), note="older")
    older = replace(older, visits=tuple(replace(each, since_login_s=6.0) for each in older.visits))
    assert signs.lost_in_youth(seen(young, older))
    assert not signs.lost_in_youth(seen(young))
    assert not signs.lost_in_youth(seen(young, older, arm("F", "X" * 12, login=2)))
