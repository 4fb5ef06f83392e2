"""A store in memory that counts round trips, and that can fall silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.operations import Create
from limpet.sessions.secret_ids import USER
from limpet.sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from overlap import Gate


def is_note(operation: Any) -> bool:
    """Whether it is what a process writes down once, in a thread, and no request's round trip."""
    return isinstance(operation, Create) and operation.key.user == USER


class WatchedStore(MemoryStore):
    """Counts operations: each is one round trip.

    Attributes:
        is_down: whether it answers nothing.
        is_async_only: whether a blocking call is a mistake.
        gate: holds the next asynchronous call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[str] = []
        self.is_down = False
        self.is_async_only = False
        self.gate: Gate | None = None

    def take(self) -> list[str]:
        """Return what was asked since the last time."""
        asked, self._asked = self._asked, []
        return asked

    def run(self, operation: Any) -> Any:
        assert is_note(operation) or not self.is_async_only, "a blocking call in an event loop"
        return self._answer(operation)

    async def arun(self, operation: Any) -> Any:
        gate, self.gate = self.gate, None
        if gate is not None:
            await gate.ahold()
        return self._answer(operation)

    def _answer(self, operation: Any) -> Any:
        if is_note(operation):
            return None
        self._asked.append(type(operation).__name__)
        if self.is_down:
            raise StoreUnavailableError("the test says so")
        return super().run(operation)
