"""Limits per client: who counts as one, what comes back in time, and tables that others have filled."""

from __future__ import annotations

from array import array
from ipaddress import ip_network
from random import Random

import pytest

from limpet.core.per_client import connections, rate
from limpet.core.per_client.connections import ConnectionCounts
from limpet.core.per_client.numbering import EXEMPT, ClientNumbers
from limpet.core.per_client.rate import Buckets

SALT = b"s" * 16


def buckets() -> Buckets:
    return Buckets(array("q", bytes(8 * rate.NUMBERS)))


def counts(processes: int = 1, own: int = 0) -> ConnectionCounts:
    return ConnectionCounts([array("q", bytes(8 * connections.NUMBERS)) for _ in range(processes)], own)


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_who_is_one_client(one: str, other: str, are_same: bool) -> None:
    numbers = ClientNumbers(SALT, ())
    assert (numbers.of(one) == numbers.of(other)) is are_same
    assert 0 < numbers.of(one) < 1 << 63
    assert ClientNumbers(b"t" * 16, ()).of(one) != numbers.of(one)


def test_who_is_exempt() -> None:
    numbers = ClientNumbers(SALT, (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
    exempt = ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "", "not an address"]
    assert [numbers.of(address) for address in exempt] == [EXEMPT] * 5
    assert numbers.of("11.1.2.3") != EXEMPT != numbers.of("2001:db9::1")


@pytest.mark.parametrize(("per_s", "burst"), [(1.0, 1), (0.1, 3), (50.0, 7), (1000.0, 1)])
def test_a_burst_and_then_the_rate(per_s: float, burst: int) -> None:
    table = buckets()
    now_s = 1000.0
    taken = [table.take(7, now_s, per_s, burst) for _ in range(burst + 5)]
    assert taken == [True] * burst + [False] * 5
    for _ in range(20):
        now_s += 1.01 / per_s
        assert table.take(7, now_s, per_s, burst)
        assert not table.take(7, now_s, per_s, burst)
    now_s += 10 * burst / per_s  # no more than full
    assert sum(table.take(7, now_s, per_s, burst) for _ in range(burst + 5)) == burst


def test_in_the_long_run_a_client_gets_its_rate_however_fast_it_asks() -> None:
    table = buckets()
    random = Random(1)
    now_s, taken = 5.0, 0
    while now_s < 105.0:
        taken += table.take(9, now_s, 20.0, 10)
        now_s += random.random() * 0.02
    assert 1990 <= taken <= 2012


def test_clients_do_not_share_a_bucket() -> None:
    table = buckets()
    assert [table.take(client, 1.0, 1.0, 1) for client in range(1, 10_000)] == [True] * 9999
    assert not any(table.take(client, 1.0, 1.0, 1) for client in range(1, 10_000))


def test_a_full_table_forgets_who_has_asked_least() -> None:
    table = buckets()
    crowd = [1 + number * 16384 for number in range(5)]  # one more than may stand in one place
    for asks, client in enumerate(crowd[:4], start=2):
        for _ in range(asks):
            table.take(client, 1.0, 1.0, 100)
    assert table.take(crowd[4], 1.0, 1.0, 1)
    assert not table.take(crowd[3], 1.0, 1.0, 5)  # it has asked five times
    assert table.take(crowd[0], 1.0, 1.0, 1)  # it has asked twice, and is forgotten


def test_connections_come_and_go() -> None:
    table = counts()
    assert [table.enter(5, 3) for _ in range(5)] == [True] * 3 + [False] * 2
    assert table.enter(6, 3)
    table.leave(5)
    assert [table.enter(5, 3) for _ in range(2)] == [True, False]
    for _ in range(3):
        table.leave(5)
    assert [table.enter(5, 1) for _ in range(2)] == [True, False]


def test_connections_of_all_processes_count() -> None:
    tables = [array("q", bytes(8 * connections.NUMBERS)) for _ in range(3)]
    processes = [ConnectionCounts(tables, own) for own in range(3)]
    assert [processes[number % 3].enter(5, 4) for number in range(6)] == [True] * 4 + [False] * 2
    processes[1].leave(5)
    assert processes[2].enter(5, 4)


def test_who_finds_no_place_is_not_turned_away_and_takes_nothing_from_others() -> None:
    table = counts()
    crowd = [1 + number * 8192 for number in range(9)]
    assert all(table.enter(client, 1) for client in crowd)
    assert all(table.enter(crowd[8], 1) for _ in range(3))
    for _ in range(4):
        table.leave(crowd[8])
    assert not any(table.enter(client, 1) for client in crowd[:8])


def test_books_of_connections_are_even_in_the_end() -> None:
    memory = array("q", bytes(8 * connections.NUMBERS))
    table = ConnectionCounts([memory], 0)
    random = Random(2)
    entered = []
    for _ in range(3000):
        if entered and random.random() < 0.5:
            table.leave(entered.pop(random.randrange(len(entered))))
        else:
            client = random.randrange(1, 60)
            if table.enter(client, 10):
                entered.append(client)
    for client in entered:
        table.leave(client)
    assert not any(memory)
