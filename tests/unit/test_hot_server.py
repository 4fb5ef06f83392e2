"""The arithmetic of `benchmarks/hot_server.py`, on requests whose figures are known."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from hot_lab import drawing, report
from hot_lab.app import OneServer
from hot_lab.run import Events, Seen
from hot_lab.traffic import SCENARIOS, Event, Extent, Kind, Scenario, actions
from hot_lab.users import Jar, Sample

EXTENT = Extent(users=50, calm_s=1, settle_s=10, windows=2, window_s=10)


def sample(
    at_s: float, user: int = 0, target: str = "A", *, kind: Kind = Kind.READ, **more: object
) -> Sample:
    """Return a request that was due 0.1 s before its answer."""
    known = {"status": 200, "is_in": True, "is_logout": False, "cookies": 0} | more
    return Sample(at_s - 0.1, at_s, user, kind, target, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (50, 50), (99, 99), (99.9, 100), (100, 100), (0.1, 1), (1.5, 2)]
)
def test_percentiles(percent: float, value: float) -> None:
    assert report.percentile(range(100, 0, -1), percent) == value


def test_a_percentile_of_nothing() -> None:
    assert report.percentile([], 50) != report.percentile([], 50)


def test_windows_count_what_was_answered_in_them_by_targets() -> None:
    times = [9.9, 10.0, 19.99, 20.0, 29.9, 30.0]
    samples = [sample(at_s) for at_s in times] + [sample(25, target="B"), sample(25, target="", status=503)]
    assert report.windows(samples, EXTENT) == [Counter(A=2), Counter(A=2, B=1)]


def test_busiest_to_mean() -> None:
    assert report.busiest_to_mean({"A": 50, "B": 50}, "ABCDE") == 2.5
    assert report.busiest_to_mean(dict.fromkeys("ABCDE", 7), "ABCDE") == 1.0
    # One that is on its way out, and still serves, does not count for the mean.
    assert report.busiest_to_mean({"A": 30, "B": 10}, "A") == 0.75


def test_how_sessions_go_on() -> None:
    samples = [
        sample(9, user=1, target="A", kind=Kind.LOGIN),
        sample(11, user=1, target="A"),
        sample(12, user=1, target="B"),
        sample(13, user=1, target="", status=503),
        sample(14, user=1, target="B"),
        sample(15, user=2, target="C"),  # nobody knows where it was before
        sample(16, user=2, target="D", kind=Kind.LOGIN),
        sample(31, user=1, target="E"),
    ]
    assert report.visits(reversed(samples), 10, 30) == (3, 2, 2)


def test_served_per_second_begins_with_the_calm() -> None:
    served = report.served_per_second(
        [sample(-1), sample(-0.5), sample(0.5), sample(29.5), sample(31)], EXTENT
    )
    assert served["A"][:3] == [2, 1, 0]
    assert len(served["A"]) == 31
    assert sum(served["A"]) == 4


def test_figures_of_known_requests() -> None:
    scenario = Scenario("two of two", "A", Event.UP, "B", "AB")
    samples = [
        sample(-3, user=1, kind=Kind.LOGIN),
        sample(11, user=1, target="A", cookies=1),
        sample(12, user=1, target="B", is_in=False, is_logout=True),
        sample(13, user=1, target="B", kind=Kind.LOGIN),
        sample(14, user=1, target="B"),
        sample(22, user=1, target="B"),
        sample(23, user=1, target="", status=0, fault="not answered in time"),
        sample(24, user=1, target="A"),
    ]
    events = [Events({"balance": 2}, 10, 0), Events({"balance": 5, "drain": 1}, 13, 1)]
    seen = Seen(samples, [0.001, 0.002], [100, 124], events, 0.5, [1.0, 2.0])
    figures = report.figures(seen, scenario, EXTENT)
    assert figures["busiest_to_mean_by_window"] == [pytest.approx(3 / 2), pytest.approx(1)]
    assert figures["busiest_to_mean"] == 1.5
    assert figures["p50_ms"] == pytest.approx(100)
    assert figures["errors"] == 1
    assert figures["faults"] == {"not answered in time": 1}
    assert figures["logouts"] == 1
    assert figures["same_target_percent"] == pytest.approx(100 * 3 / 5)
    assert figures["moves_in_all"] == {"balance": 5, "drain": 1}
    assert figures["moves_percent_per_minute"] == pytest.approx(100 * 4 / 1 / (20 / 60))
    assert figures["lent_percent"] == pytest.approx(100 * 3 / 7)
    assert figures["suspected"] == 1
    assert figures["set_cookie_percent"] == pytest.approx(20)
    assert figures["store_commands_per_request"] == pytest.approx(24 / 7)
    assert figures["load"] == 2.0


def test_medians_of_rounds_forget_no_loss() -> None:
    rounds = [
        {"p99_ms": value, "errors": errors, "logouts": 0, "served": {}, "store_commands_at_home": None}
        for value, errors in ((30.0, 2), (10.0, 0), (20.0, 0))
    ]
    assert report.medians(rounds) == {
        "p99_ms": 20.0,
        "errors": 2,
        "logouts": 0,
        "served": {},
        "store_commands_at_home": None,
    }


def test_the_bars() -> None:
    good = {"busiest_to_mean": 1.15, "p99_ms": 36.0, "same_target_percent": 80.0, "logouts": 0}
    good["moves_percent_per_minute"] = 5.0
    assert all(is_met for *_, is_met in report.bars(good, {"p99_ms": 18.0}))
    bad = {"busiest_to_mean": 1.16, "p99_ms": 37.0, "same_target_percent": 79.0, "logouts": 1}
    bad["moves_percent_per_minute"] = 5.1
    assert not any(is_met for *_, is_met in report.bars(bad, {"p99_ms": 18.0}))


def test_the_bars_of_pinned_sessions() -> None:
    peers = [
        {"busiest_to_mean": 2.5, "p99_ms": 9000.0, "logouts": 3, "idle_logins_percent": 90.0},
        {"busiest_to_mean": 2.4, "p99_ms": 9500.0, "logouts": 4, "idle_logins_percent": 100.0},
    ]
    best = {"busiest_to_mean": 2.4, "p99_ms": 9000.0, "logouts": 3, "idle_logins_percent": 100.0}
    assert all(is_met for *_, is_met in report.pinned_bars(best, peers))
    worse = {"busiest_to_mean": 2.7, "p99_ms": 9950.0, "logouts": 4, "idle_logins_percent": 89.0}
    assert [is_met for *_, is_met in report.pinned_bars(worse, peers)] == [False] * 4
    assert len(report.pinned_bars(best | {"idle_logins_percent": None}, peers)) == 3


def test_a_target_serves_one_at_a_time() -> None:
    server = OneServer(0.01)
    assert server.enter(1.0) == (1.0, 1.01)
    assert server.enter(1.005) == (1.01, 1.02)
    assert server.enter(2.0) == (2.0, 2.01)


@pytest.mark.parametrize("name", SCENARIOS)
def test_traffic_is_drawn_from_its_seed(name: str) -> None:
    scenario = SCENARIOS[name]
    planned = actions(scenario, EXTENT)
    assert planned == actions(scenario, EXTENT)
    assert planned != actions(scenario, Extent(users=50, calm_s=1, settle_s=10, windows=2, seed=2))
    # 60 % of five targets' 500 a second, for 30 s.
    crowd = [action for action in planned if action.due_s >= 0 and action.kind is not Kind.LOGIN]
    assert len(crowd) == pytest.approx(9000, rel=0.05)
    first = {}
    for action in planned:
        first.setdefault(action.user, action.kind)
    assert set(first.values()) == {Kind.LOGIN}
    asked = Counter(action.user for action in crowd).most_common()
    assert asked[0][1] > 10 * asked[-1][1]


def test_a_jar_keeps_replaces_and_deletes() -> None:
    jar = Jar()
    assert jar.field() == ""
    assert jar.take("a=1; Path=/; Max-Age=60") == "a"
    jar.take("b=x=y; HttpOnly; Expires=Wed, 01 Jan 2098 00:00:00 GMT")
    assert jar.field() == "Cookie: a=1; b=x=y\r\n"
    jar.take("a=2")
    jar.take("b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert jar.field() == "Cookie: a=2\r\n"
    jar.take("a=; Max-Age=0; Expires=Wed, 01 Jan 2098 00:00:00 GMT")
    assert jar.field() == ""


def test_a_drawing_shows_what_was_lost() -> None:
    figures = {
        "busiest_to_mean": 2.5,
        "p99_ms": 9870.0,
        "errors": 3,
        "logouts": 0,
        "calm_s": 1,
        "settle_s": 1,
    }
    figures["service_s"] = 0.01
    figures["served"] = {name: [20, 60, 60] for name in "ABCDE"}
    svg = drawing.draw({"influx": {"haproxy": figures, "limpet-stateless": figures | {"p99_ms": 18.0}}})
    assert svg.count("<polyline") == 10
    for words in ("busiest/mean 2.50", "p99 9.9 s", "3 errors", "p99 18 ms", "HAProxy"):
        assert words in svg
    assert "logouts" not in svg
    assert drawing.smooth([0, 3, 6], 3) == [1.5, 3, 4.5]
