"""A source for tests that are not about any library."""

from __future__ import annotations

from typing import Any, ClassVar

from limpet.sessions.migration import OldSession, Source


class Fake(Source):
    """Sessions in a dictionary, of a store that can be down."""

    name: ClassVar[str] = "fake"
    user_field: ClassVar[str | None] = "user"

    def __init__(self, **sessions: dict[Any, Any]) -> None:
        super().__init__("old")
        self.sessions = sessions
        self.is_down = False
        self.written_s = 0.0
        self.asked = 0

    def identify(self, value: str) -> str | None:
        return value

    def read(self, identity: str, now_s: float) -> OldSession | None:
        self.asked += 1
        if self.is_down:
            raise ConnectionRefusedError("down")
        fields = self.sessions.get(identity)
        return None if fields is None else OldSession(fields, now_s + 86400, written_s=self.written_s)

    def end(self, identity: str) -> None:
        if self.is_down:
            raise ConnectionRefusedError("down")
        self.sessions.pop(identity, None)
