"""Fixtures of the protocol tests: one event loop per module, and scenes on it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

# The corpora and the kit are modules beside the tests; `importlib` mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine on the module's event loop; one that takes too long is a hang."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield lambda coroutine: runner.run(asyncio.wait_for(coroutine, PATIENCE_S))
