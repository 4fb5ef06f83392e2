"""Kits of tests are found by their names alone, and several folders' tests may run in one process."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_kits_have_the_same_name():
    kits = [
        path.name for path in TESTS.rglob("*.py") if not path.name.startswith(("test_", "conftest", "__"))
    ]
    assert [name for name, count in Counter(kits).items() if count > 1] == []
