"""Puts the checker and the simulated world where their tests find them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--histories", type=int, default=None, help="how many histories to run")
    parser.addoption("--history-seed", type=int, default=None, help="run this history alone, and print it")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of simulated outages are no news."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)
