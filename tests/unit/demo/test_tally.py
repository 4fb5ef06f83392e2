"""The books of an act, on data that is known."""

from __future__ import annotations

import pytest

from limpet.demo.tally import SETTLING_S, WINDOW_S, Page, Tally, busiest_to_mean, percentile

FIVE = "ABCDE"


def pages(at_s: float, **counts: int) -> list[Page]:
    return [Page(at_s, server, 10.0) for server, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([], 99, None), ([7], 99, 7), ([7], 0, 7), (range(1, 101), 99, 99), (range(1, 201), 50, 100)],
)
def test_a_percentile_is_one_of_the_values(values, percent, found) -> None:
    assert percentile(values, percent) == found


def test_the_busiest_server_is_compared_with_the_mean_of_all_that_could_serve() -> None:
    assert busiest_to_mean(pages(0, A=10, B=10, C=10, D=10, E=10), FIVE) == 1
    assert busiest_to_mean(pages(0, A=50), FIVE) == 5
    assert busiest_to_mean(pages(0, A=30, B=10), "AB") == 1.5
    # A dead server neither counts nor lowers the mean.
    assert busiest_to_mean(pages(0, A=100, B=20, C=20), "BC") == 1
    assert busiest_to_mean(pages(0, A=5), FIVE) is None


def test_only_settled_time_counts_for_evenness_and_slowness() -> None:
    tally = Tally(now_s=0.0)
    tally.page(Page(SETTLING_S - 0.1, "A", 900.0))
    assert tally.figures().p99_ms is None
    for page in pages(SETTLING_S + WINDOW_S - 0.1, A=40):
        tally.page(page)
    tally.tick(SETTLING_S + WINDOW_S - 0.01, FIVE)
    assert tally.figures().busiest_to_mean is None
    tally.tick(SETTLING_S + WINDOW_S, FIVE)
    assert tally.figures().busiest_to_mean == pytest.approx(41 * 5 / 41)
    assert tally.figures().p99_ms == 10.0
    assert tally.figures().pages == 41


def test_an_event_unsettles_for_as_long_as_it_goes_on() -> None:
    tally = Tally(now_s=0.0)
    tally.unsettle(10.0, for_s=3.0)
    assert tally.settles_in(11.0) == 2.0 + SETTLING_S
    assert tally.settles_in(99.0) == 0
    tally.page(Page(13.0 + SETTLING_S - 0.1, "A", 900.0))
    assert tally.figures().p99_ms is None
    tally.page(Page(13.0 + SETTLING_S, "A", 20.0))
    assert tally.figures().p99_ms == 20.0


def test_logouts_count_always_by_cause_and_for_a_moment_as_recent() -> None:
    tally = Tally(now_s=0.0)
    tally.logout("died", 1.0)
    tally.logout("died", 1.0)
    tally.logout("stranger", 1.0 + WINDOW_S)
    assert tally.figures().logouts == {"died": 2, "stranger": 1}
    assert tally.recent_logouts(1.0 + WINDOW_S) == 3
    assert tally.recent_logouts(1.1 + WINDOW_S) == 1


def test_the_window_forgets() -> None:
    tally = Tally(now_s=0.0)
    for page in [*pages(1.0, A=3), *pages(2.0, B=2)]:
        tally.page(page)
    assert [page.server for page in tally.window(1.5 + WINDOW_S)] == ["B", "B"]
    assert tally.figures().pages == 5
