"""What relief reckons with: the bound, the budget, the demand."""

import pytest

from limpet.core.address import Address
from limpet.core.relief.bound import cap
from limpet.core.relief.budget import Budget
from limpet.core.relief.demand import MEAN_S, Demand
from limpet.core.target import Target, TargetState


def target(name, weight=1):
    made = TargetState(Target(id=name, address=Address(host="127.0.0.1", port=1), weight=weight))
    made.takes_sticky = True
    return made


@pytest.mark.parametrize(
    ("total", "share", "allowed"),
    [
        (0, 0.2, 2),  # two are always allowed
        (5, 0.2, 3),
        (100, 0.2, 25),
        (101, 0.2, 26),  # rounded up
        (100, 0.5, 63),
        (10, 0.0, 2),
    ],
)
def test_a_target_may_carry_a_quarter_more_than_its_share(total, share, allowed):
    assert cap(total, share, 0.25) == allowed


def test_moves_come_back_with_time_and_do_not_pile_up():
    budget = Budget()
    budget.fill(1.0, 0.0)
    assert [budget.spend() for _ in range(2)] == [True, False]
    budget.fill(1.0, 2.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.fill(1.0, 1000.0)
    assert sum(budget.spend() for _ in range(100)) == 5


def test_a_clock_that_goes_back_gives_nothing():
    budget = Budget()
    budget.fill(10.0, 100.0)
    budget.spend()
    budget.fill(10.0, 50.0)
    assert not budget.spend()


def ask(demand, rates, seconds, at_s=0.0):
    """Let targets be asked so many requests per second; return the time after it."""
    for second in range(seconds):
        for each, rate in rates.items():
            each.requests += rate
        demand.measure(rates, at_s + second + 1)
    return at_s + seconds


def test_an_even_group_has_no_surplus():
    a, b = target("A"), target("B")
    demand = Demand()
    ask(demand, {a: 50, b: 50}, 60)
    assert demand.surplus == {}
    assert demand.fair(a) == pytest.approx(49.1, abs=1)


def test_who_has_more_than_his_share_has_a_surplus():
    a, b = target("A"), target("B")
    demand = Demand()
    ask(demand, {a: 90, b: 10}, 60)
    assert demand.surplus.keys() == {a}
    assert demand.surplus[a] == pytest.approx(39, abs=2)
    assert demand.worst_excess == pytest.approx(0.8, abs=0.02)
    assert demand.room(b) == pytest.approx(39, abs=2)


def test_weights_are_shares():
    a, b = target("A", weight=3), target("B")
    demand = Demand()
    ask(demand, {a: 75, b: 25}, 60)
    assert demand.surplus == {}


def test_chance_is_no_surplus():
    # 4 requests per second for each: the mean of T seconds is off by sqrt(4 / 2T) = 0.37 by chance alone.
    a, b = target("A"), target("B")
    demand = Demand()
    ask(demand, {a: 4, b: 4}, int(MEAN_S))
    a.requests += 5
    demand.measure([a, b], MEAN_S + 1)
    assert demand.surplus == {}


def test_what_was_lent_counts_where_the_session_is_at_home():
    a, b = target("A"), target("B")
    demand = Demand()
    for second in range(60):
        a.requests += 60
        a.lent += 30
        b.requests += 40
        b.borrowed += 30
        demand.measure([a, b], second + 1.0)
    assert demand.surplus.keys() == {a}  # 90 of 100 are at home here


def test_a_move_is_reckoned_with_at_once():
    a, b = target("A"), target("B")
    demand = Demand()
    ask(demand, {a: 60, b: 40}, 60)
    surplus = demand.surplus[a]
    demand.move(surplus, a, b)
    assert demand.surplus == {}
    assert demand.room(b) == pytest.approx(0, abs=0.01)


def test_relief_goes_on_until_the_surplus_is_small():
    a, b = target("A"), target("B")
    demand = Demand()
    at_s = ask(demand, {a: 1100, b: 900}, 60)
    assert a in demand.surplus
    at_s = ask(demand, {a: 1015, b: 985}, 90, at_s)
    assert a in demand.surplus  # would not begin with so little, but goes on
    ask(demand, {a: 1002, b: 998}, 90, at_s)
    assert demand.surplus == {}


def test_a_target_that_comes_has_room_and_one_that_goes_is_forgotten():
    a, b, c = target("A"), target("B"), target("C")
    demand = Demand()
    at_s = ask(demand, {a: 50, b: 50}, 60)
    at_s = ask(demand, {a: 50, b: 50, c: 0}, 5, at_s)
    assert demand.room(c) == pytest.approx(33, abs=2)
    ask(demand, {b: 50, c: 0}, 5, at_s)
    assert demand.room(a) == 0
