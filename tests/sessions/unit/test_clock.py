from __future__ import annotations

import pytest

from limpet.sessions.stores.clock import StoreClock


class Clocks:
    """A wall clock and a monotonic one that a test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.mono = 50.0
        self.clock = StoreClock(lambda: self.wall, lambda: self.mono)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


def test_before_the_store_was_asked_it_is_our_own_clock() -> None:
    clocks = Clocks()
    assert clocks.clock.now_s() == 1_000_000.0
    assert clocks.clock.is_due


@pytest.mark.parametrize(("ahead_s", "known_s"), [(-300.0, -300.0), (300.0, 300.0), (0.4, 0.0)])
def test_the_store_says_how_late_it_is(ahead_s: float, known_s: float) -> None:
    clocks = Clocks()
    asked_s = clocks.mono
    clocks.passes(0.02)
    clocks.clock.tell(clocks.wall - 0.01 + ahead_s, asked_s)
    assert clocks.clock.now_s() == pytest.approx(clocks.wall + known_s)
    assert not clocks.clock.is_due
    clocks.passes(59)
    assert not clocks.clock.is_due
    clocks.passes(2)
    assert clocks.clock.is_due


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_nothing_and_the_store_is_asked_again(jump_s: float) -> None:
    clocks = Clocks()
    clocks.clock.tell(clocks.wall, clocks.mono)
    clocks.wall += jump_s
    clocks.passes(1)
    assert clocks.clock.now_s() == pytest.approx(1_000_001.0)
    assert clocks.clock.is_due
