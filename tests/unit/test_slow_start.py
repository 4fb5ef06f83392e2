"""The ramp of slow start."""

import pytest

from limpet.core.slow_start import FLOOR, ramped_weight


@pytest.mark.parametrize(
    ("started_s", "duration_s", "now_s", "expected"),
    [
        (None, 30, 100, 4),
        (100, 0, 100, 4),
        (100, 30, 100, 4 * FLOOR),
        (100, 30, 115, 2),
        (100, 30, 129.99, 4 * 29.99 / 30),
        (100, 30, 130, 4),
        (100, 30, 1000, 4),
    ],
)
def test_ramp(started_s, duration_s, now_s, expected):
    assert ramped_weight(4, started_s, duration_s, now_s) == pytest.approx(expected)
