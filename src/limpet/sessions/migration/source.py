"""What a source of old sessions is, and how flows ask it.

A source reads the sessions of one other library: it knows the cookie's name, tells whether a
cookie value can be that library's, and reads what it stands for. It never writes, but for the end
of a session that was logged out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

from limpet.sessions.cookie import CookieSettings
from limpet.sessions.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from limpet.sessions.stores import Finding
    from limpet.sessions.stores.guard import Guard

A = TypeVar("A")
LOG = logging.getLogger("limpet.sessions")
#: No browser keeps a cookie longer. Source: rfc6265bis section 5.5.
LONGEST_S = 400 * 86400.0


class OldSession(NamedTuple):
    """A session of another library.

    Attributes:
        fields: with the values that limpet can store, and those that it cannot.
        ends_s: wall clock; the old library takes no such cookie afterwards, if nobody comes back.
        idle_s, absolute_end_s: lifetimes that this session has for itself; None for those of the policy.
        is_persistent: whether the cookie outlives the browser.
        written_s: wall clock of when the old library wrote it; 0 if that is not known.
    """

    fields: Mapping[str, Any]
    ends_s: float
    is_persistent: bool = True
    written_s: float = 0.0
    idle_s: float | None = None
    absolute_end_s: float | None = None


class Source(ABC):
    """The sessions of another library.

    Args:
        cookie: the old cookie: its name, or all of its settings if it has a path or domain of its
            own, so that a logout can clear it.
        user: tells from the old fields who is logged in, as the app gives it to `Session.login`;
            None takes the app's `user_field`, else the field in which the old framework keeps it.
    """

    #: Names the source in logs and counts, and is part of every adopted id: it never changes.
    name: ClassVar[str]
    user_field: ClassVar[str | None] = None

    def __init__(
        self, cookie: str | CookieSettings, *, user: Callable[[Mapping[str, Any]], Any] | None = None
    ) -> None:
        self.cookie = CookieSettings(name=cookie, secure=False) if isinstance(cookie, str) else cookie
        self._user = user
        self._has_told = False

    def tell_unsigned(self) -> None:
        """Warn, once in a process, of what shows the old cookie and does not verify.

        One such cookie is anybody's; with a wrong secret every user becomes a visitor.
        """
        if not self._has_told:
            self._has_told = True
            LOG.warning(
                "sessions from %s: the signature of a cookie %r does not verify; if that goes for all of "
                "them, the secret that the source was given is not the old app's, and everyone is a visitor",
                self.name,
                self.cookie.full_name,
            )

    def user_of(self, fields: Mapping[str, Any], user_field: str | None) -> Any:
        """Return who is logged in; None for a visitor.

        Args:
            user_field: where the app keeps it, which counts before where the old framework does.
        """
        if self._user is not None:
            return self._user(fields)
        found = (fields.get(name) for name in (user_field, self.user_field) if name is not None)
        return next((user for user in found if user is not None), None)

    @abstractmethod
    def identify(self, value: str) -> str | None:
        """Return which session a cookie value names; None if the old library never made it. No I/O."""

    @abstractmethod
    def read(self, identity: str, now_s: float) -> OldSession | None:
        """Return a session, blocking; None only if the old library would not know it either.

        Raises:
            UndecodableError: there is one, and it makes no sense.
            Exception: whatever else the client raises means that nobody knows.
        """

    @abstractmethod
    def end(self, identity: str) -> None:
        """Remove a session that was logged out, blocking; nothing happens if it is not stored."""

    async def aread(self, identity: str, now_s: float) -> OldSession | None:
        """Do what `read` does without blocking the event loop."""
        return await asyncio.to_thread(self.read, identity, now_s)

    async def aend(self, identity: str) -> None:
        """Do what `end` does without blocking the event loop."""
        await asyncio.to_thread(self.end, identity)


@dataclass(frozen=True, slots=True)
class OldOperation(Operation[A]):
    """An operation that a source performs, behind a guard of its own."""

    guard: Guard = field(repr=False)
    identity: str


@dataclass(frozen=True, slots=True)
class ReadOld(OldOperation["OldSession | None"]):
    """Read a session of another library."""

    now_s: float


@dataclass(frozen=True, slots=True)
class EndOld(OldOperation[None]):
    """Remove a session of another library."""


class SourceStore:
    """A source as a guard sees it: a store of two operations."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        asked: Any = operation
        if isinstance(asked, ReadOld):
            return cast("A", self._source.read(asked.identity, asked.now_s))
        return cast("A", self._source.end(asked.identity))

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation without blocking the event loop."""
        asked: Any = operation
        if isinstance(asked, ReadOld):
            return cast("A", await self._source.aread(asked.identity, asked.now_s))
        return cast("A", await self._source.aend(asked.identity))

    @property
    def identity(self) -> None:
        """None: what is read here goes on elsewhere."""

    def part(self, operation: Operation[Any]) -> Hashable:  # noqa: ARG002  # every store is asked so
        """Return None: to limpet, an old store is one server."""
        return None

    def now_s(self) -> float:
        """Return this server's wall clock; that of the old store is not asked."""
        return time.time()

    def check(self) -> list[Finding]:
        """Nothing is known of an old store."""
        return []

    def close(self) -> None:
        """Nothing to close: a source's connections live as long as the process."""

    async def aclose(self) -> None:
        """Nothing to close."""
