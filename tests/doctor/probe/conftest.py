"""A site in this process whose answers a test writes, and lets tests import what they share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ailing_site import SmallSite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def site() -> Iterator[SmallSite]:
    """Serve on a free port until the test ends."""
    found = SmallSite()
    yield found
    found.close()
