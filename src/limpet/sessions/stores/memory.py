"""Sessions in the memory of one process: for tests and for apps that run once. `memory://`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    Facts,
    ListUser,
    Load,
    Operation,
    Purge,
    ReadFacts,
    RevokeEveryone,
    RevokeUser,
    Stored,
)
from limpet.sessions.stores import Finding
from limpet.sessions.stores.transition import transition

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.sessions.record import Key, Record, Tombstone

A = TypeVar("A")
#: How many sessions may be added before the expired ones are looked for.
_SWEEP_AFTER = 1000


class _Entry(NamedTuple):
    key: Key
    what: Record | Tombstone
    until_s: float


class MemoryStore:
    """A dictionary under a lock.

    Args:
        url: `memory://`.
        timeout_s: of no use here; nothing waits.
        now_s: wall clock.
    """

    def __init__(
        self,
        url: str = "memory://",  # noqa: ARG002  # every store is opened with one
        *,
        timeout_s: float = 0.125,  # noqa: ARG002
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._epochs: dict[str, bytes] = {}
        self._facts = Facts(0.0, 0.0)
        self._sweep_at = _SWEEP_AFTER

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation."""
        with self._lock:
            return cast("A", self._perform(operation))

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation; nothing waits, so nothing blocks."""
        return self.run(operation)

    def now_s(self) -> float:
        """Return our own wall clock."""
        return self._now_s()

    @property
    def identity(self) -> None:
        """None: nobody else reads it."""

    def part(self, operation: Operation[Any]) -> None:
        """Return None: there is one part."""

    def check(self) -> list[Finding]:
        """Tell that these sessions end with the process."""
        what = "sessions are kept in this process: they end with it, and no other server knows them"
        return [Finding("S101", "warning", what, "use sqlite:///PATH on one machine, redis:// on several")]

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def _perform(self, operation: Operation[Any]) -> Any:
        match operation:
            case Load(key):
                return self._stored(key)
            case Create() | Commit() | End():
                return self._change(operation)
            case RevokeUser(user, epoch):
                if user in self._epochs:
                    self._epochs[user] = epoch
            case ListUser(user):
                return self._list(user)
            case RevokeEveryone(now_s):
                self._entries.clear()
                self._epochs.clear()
                self._facts = self._facts._replace(everyone_s=now_s)
            case ReadFacts(now_s, _):
                self._facts = self._facts._replace(born_s=self._facts.born_s or now_s)
                return self._facts
            case Purge(now_s):
                return self._purge(now_s)
        return None

    def _stored(self, key: Key) -> Stored:
        entry = self._entries.get(key.session)
        what = entry.what if entry is not None and entry.until_s > self._now_s() else None
        return Stored(what, self._epochs.get(key.user) if key.user else b"")

    def _change(self, operation: Create | Commit | End) -> Any:
        key = operation.key
        if isinstance(operation, Create) and key.user:
            self._epochs.setdefault(key.user, operation.seed)
        answer, what = transition(operation, self._stored(key))
        if what is not None:
            self._entries[key.session] = _Entry(key, what, operation.until_s)
            if len(self._entries) > self._sweep_at:
                self._purge(self._now_s())
                self._sweep_at = len(self._entries) + _SWEEP_AFTER
        return answer

    def _list(self, user: str) -> list[tuple[Key, Record]]:
        stored = [(key, self._stored(key)) for key, _, _ in self._entries.values() if key.user == user]
        return [(key, each.alive) for key, each in stored if each.alive is not None]

    def _purge(self, now_s: float) -> int:
        expired = [session for session, entry in self._entries.items() if entry.until_s <= now_s]
        for session in expired:
            del self._entries[session]
        users = {entry.key.user for entry in self._entries.values()}
        self._epochs = {user: epoch for user, epoch in self._epochs.items() if user in users}
        return len(expired)
