"""Copies of sessions in this process, so that a request that only reads asks no store.

A copy is served only while the store's *watch* vouches for it. Before a session is read, the watch gives
a *stamp*; what was read is served for as long as the watch holds the stamp, and nobody has told of a
change:

- Redis and Valkey tell of every change (`stores.redis_tracking`), and a stamp holds only as long as the
  connection that would tell has answered within `MAX_STALE_S`: the *lease*.
- SQLite counts the changes of its file, and is asked for the number each time.

A *placeholder* goes in before the read. A change that is told while the answer is under way takes it out,
and then what was read is not kept: it may be older than the change. What this process itself writes or
ends is taken out at once, before anybody is answered.

Copies are of records as the store has them, which never change; each request decodes values of its own.
Nothing is ever absent because of a copy: what has run out by a copy is asked of the primary. Requests that
may write, and `Session.require_fresh`, do not look here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from limpet.errors import ConfigError
from limpet.sessions.errors import UndecodableError
from limpet.sessions.operations import Commit, Create, End, Load, RevokeEveryone, RevokeUser, Stored
from limpet.sessions.record import Record
from limpet.sessions.stores import MAX_STALE_S, processes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.sessions.events import Events
    from limpet.sessions.operations import Operation
    from limpet.sessions.record import Key
    from limpet.sessions.stores import Store, Watch, Watchable
    from limpet.sessions.stores.guard import Guard

A = TypeVar("A")
VARIABLE = "LIMPET_NEAR_CACHE"
#: What a copy takes beside its fields, roughly.
_ENTRY_BYTES = 1500
#: No single copy takes more than this share.
_MAX_SHARE = 16
_MIN_BYTES = 64 * 1024
#: Clocks of machines differ in speed, and threads wait for each other.
_MARGIN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class NearCache:
    """How much of the sessions this process keeps copies of.

    How old a copy may be is fixed (`MAX_STALE_S`): a revocation that waits must know it of every process.

    Attributes:
        max_bytes: of all copies together, about; those that were read last stay.
    """

    max_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if not isinstance(self.max_bytes, int) or self.max_bytes < _MIN_BYTES:
            problem = f"sessions.near_cache.max_bytes: {self.max_bytes!r} is not at least {_MIN_BYTES}"
            raise ConfigError([f"{problem}; write 67108864 for 64 MiB"])


class _Entry:
    # A copy, or the placeholder of one.

    __slots__ = ("size_bytes", "stamp", "stored", "user")

    def __init__(self, stamp: object, user: str) -> None:
        self.stamp = stamp
        self.user = user
        self.stored: Stored | None = None
        self.size_bytes = _ENTRY_BYTES


class Copies:
    """The copies of one process, in front of a store.

    Args:
        guard: around the store.
        watch_of: the store itself.
        settings: see there.
        events: counts hits and the rest.
    """

    def __init__(self, guard: Guard, watch_of: Watchable, settings: NearCache, events: Events) -> None:
        self._guard = guard
        self._max_bytes = settings.max_bytes
        self._events = events
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._of_user: dict[str, set[str]] = {}
        self._size_bytes = 0
        self._watch: Watch = watch_of.watch(self)
        processes.watch(self)

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking; raises as the guard does."""
        if not isinstance(operation, Load):
            try:
                return self._guard.run(operation)
            finally:
                self._note(operation)
        found: Any = self._find(operation)
        if found is None:
            entry = self._begin(operation.key)
            try:
                found = self._guard.run(operation)
            finally:
                self._end(operation.key, entry, found)
        return found  # type: ignore[no-any-return]

    async def arun(self, operation: Operation[A]) -> A:
        """Do what `run` does without blocking the event loop."""
        if not isinstance(operation, Load):
            try:
                return await self._guard.arun(operation)
            finally:
                self._note(operation)
        found: Any = self._find(operation)
        if found is None:
            entry = self._begin(operation.key)
            try:
                found = await self._guard.arun(operation)
            finally:
                self._end(operation.key, entry, found)
        return found  # type: ignore[no-any-return]

    # What a watch tells; from its thread.

    def forget(self, sessions: Iterable[str], users: Iterable[str]) -> None:
        """Drop the copies of sessions, and of all sessions of users: they have changed."""
        with self._lock:
            for session in sessions:
                self._drop(session)
            for user in users:
                for session in self._of_user.pop(user, ()):
                    self._drop(session)

    def forget_all(self) -> None:
        """Drop every copy; in one step, however many there are."""
        with self._lock:
            self._entries, self._of_user, self._size_bytes = OrderedDict(), {}, 0

    def voided(self) -> None:
        """Drop every copy, for nobody vouches for them any longer."""
        self._events.near_cache("voids")
        self.forget_all()

    # Forks.

    def before_fork(self) -> None:
        """Make sure that no thread is half-way through a change."""
        self._lock.acquire()

    def after_fork(self, *, is_child: bool) -> None:  # noqa: ARG002  # the child's watch holds no old stamp
        """Let go."""
        self._lock.release()

    def close(self) -> None:
        """Drop every copy."""
        self.forget_all()

    # A load.

    def _find(self, operation: Load) -> Stored | None:
        if not operation.may_be_copy:
            self._events.near_cache("bypasses")
            return None
        with self._lock:
            entry = self._entries.get(operation.key.session)
            stored = entry.stored if entry is not None else None
            if stored is not None:
                self._entries.move_to_end(operation.key.session)
        if entry is None or stored is None or not self._watch.holds(entry.stamp):
            self._events.near_cache("misses")
            return None
        record = stored.what
        if entry.user != operation.key.user or not isinstance(record, Record):
            return None
        if record.version < operation.floor:
            self._events.near_cache("bypasses")
            return None
        self._events.near_cache("hits")
        return stored

    def _begin(self, key: Key) -> _Entry | None:
        stamp = self._watch.begin()
        if stamp is None:
            return None
        entry = _Entry(stamp, key.user)
        with self._lock:
            self._put(key.session, entry)
        return entry

    def _end(self, key: Key, entry: _Entry | None, stored: Stored | None) -> None:
        if entry is None:
            return
        size_bytes = _size_bytes(stored) if stored is not None and stored.alive is not None else 0
        # Asked before the lock is taken, for it may take its own. If it changes its mind, this entry goes.
        is_kept = 0 < size_bytes * _MAX_SHARE <= self._max_bytes and self._watch.holds(entry.stamp)
        with self._lock:
            if self._entries.get(key.session) is not entry:
                return
            if stored is None or not is_kept:
                self._drop(key.session)
                return
            self._size_bytes += size_bytes - entry.size_bytes
            entry.size_bytes, entry.stored = size_bytes, stored._replace(is_copy=True)
            while self._size_bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    # Changes by this process.

    def _note(self, operation: Operation[Any]) -> None:
        # Whether or not it was done: an answer that did not come says nothing.
        match operation:
            case Create() | Commit() | End():
                self.forget((operation.key.session,), ())
            case RevokeUser(user):
                self.forget((), (user,))
            case RevokeEveryone():
                self.forget_all()

    # Under the lock.

    def _put(self, session: str, entry: _Entry) -> None:
        self._drop(session)
        self._entries[session] = entry
        self._size_bytes += entry.size_bytes
        if entry.user:
            self._of_user.setdefault(entry.user, set()).add(session)

    def _drop(self, session: str) -> None:
        entry = self._entries.pop(session, None)
        if entry is None:
            return
        self._size_bytes -= entry.size_bytes
        theirs = self._of_user.get(entry.user)
        if theirs is not None:
            theirs.discard(session)
            if not theirs:
                del self._of_user[entry.user]


def _size_bytes(stored: Stored) -> int:
    # 0 for what does not decode, which is the reader's to meet.
    if not isinstance(stored.what, Record):
        return 0
    try:
        fields = stored.what.fields.items()
        return _ENTRY_BYTES + sum(2 * len(name) + len(field.data) for name, field in fields)
    except UndecodableError:
        return 0


def near_cache_of(setting: object, store: Store) -> NearCache | None:
    """Return the settings of the copies of a store; None for no copies.

    Args:
        setting: what the app says; None reads `LIMPET_NEAR_CACHE` (0 or 1).

    Raises:
        ConfigError: a setting that makes no sense, or a store that does not tell of changes.
    """
    if setting is None:
        setting = _from_environment()
    if isinstance(setting, bool):
        setting = NearCache() if setting else None
    if not isinstance(setting, NearCache | None):
        problem = f"sessions.near_cache: {setting!r} is neither True, False nor a NearCache"
        raise ConfigError([f"{problem}; write NearCache(max_bytes=...)"])
    if setting is None or getattr(store, "identity", "") is None:
        return None  # what is in this process needs no copy
    if getattr(store, "watch", None) is None:
        problem = "sessions.near_cache: this store does not tell of changes, so a copy could outlive a logout"
        raise ConfigError([f"{problem}; use redis://, valkey:// or sqlite:///, or leave near_cache out"])
    return setting


def _from_environment() -> bool:
    text = os.environ.get(VARIABLE, "").strip() or "0"
    if text not in {"0", "1"}:
        raise ConfigError([f"sessions.near_cache: {VARIABLE} is {text!r}; set it to 0 or 1"])
    return text == "1"


def wait_s(store: Store) -> float:
    """Return after how long no process serves a copy of what was revoked, however it is cut off."""
    return MAX_STALE_S * _MARGIN if getattr(store, "has_leases", False) else 0.0
