"""A store in memory that counts round trips, and that can fall silent."""

from __future__ import annotations

from typing import Any

from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.stores.memory import MemoryStore


class WatchedStore:
    """Counts operations: each is one round trip.

    Attributes:
        asked: the names of the operations since the last `take`.
        is_down: whether it answers nothing.
        is_async_only: whether a blocking call is a mistake.
    """

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.asked: list[str] = []
        self.is_down = False
        self.is_async_only = False

    def take(self) -> list[str]:
        """Return what was asked, and forget it."""
        asked, self.asked = self.asked, []
        return asked

    def run(self, operation: Any) -> Any:
        assert not self.is_async_only, "a blocking call in an event loop"
        return self._answer(operation)

    async def arun(self, operation: Any) -> Any:
        return self._answer(operation)

    def _answer(self, operation: Any) -> Any:
        self.asked.append(type(operation).__name__)
        if self.is_down:
            raise StoreUnavailableError("the test says so")
        return self._store.run(operation)

    def check(self) -> list[Any]:
        return self._store.check()

    def close(self) -> None:
        """Nothing to close."""

    async def aclose(self) -> None:
        """Nothing to close."""
