"""What the session layer asks of a store, as values.

Session logic is written once, as generators that yield operations and are sent the answers
(`Flow`). A driver performs them: `Store.run` for WSGI, `Store.arun` for ASGI. So nothing is
written twice for sync and async, the logic is tested without I/O, and a guard around a store
(deadline, breaker) wraps one method.

Every operation is one atomic step in the store, and may be sent again when its answer was lost.
Wall clock times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from limpet.sessions.record import Committed, Edit, Key, Record, Tombstone

A = TypeVar("A")
EPOCH_BYTES = 8


class Operation(Generic[A]):
    """An operation whose answer is an A.

    Attributes:
        is_bulk: reads or writes many keys, so the deadline of a request does not apply.
    """

    __slots__ = ()
    is_bulk: ClassVar[bool] = False


T = TypeVar("T")
Flow: TypeAlias = Generator[Operation[Any], Any, T]


class Stored(NamedTuple):
    """What stands at a key.

    Attributes:
        what: None if there is nothing.
        epoch: the user's epoch now; None if there is none, b"" for a visitor's key.
        is_copy: whether this process has kept it since it was read.
    """

    what: Record | Tombstone | None
    epoch: bytes | None
    is_copy: bool = False

    @property
    def alive(self) -> Record | None:
        """The record, if it was not revoked."""
        return self.what if isinstance(self.what, Record) and self.what.epoch == self.epoch else None


@dataclass(frozen=True, slots=True)
class Load(Operation[Stored]):
    """Read a record and its user's epoch, in one round trip, from a primary.

    Attributes:
        may_be_copy: whether a copy of this process will do, if it keeps some.
        floor: the version that such a copy must have at least.
    """

    key: Key
    may_be_copy: bool = False
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Create(Operation[Stored]):
    """Write a new record if nothing stands there; the answer is what stands there then.

    For a user, take over the user's epoch (`seed` becomes it if there is none), keep it for as
    long as the record may live, and add the session to the user's list.

    Attributes:
        record: its `epoch` is ignored.
        seed: 8 random bytes.
    """

    key: Key
    record: Record
    until_s: float
    seed: bytes


@dataclass(frozen=True, slots=True)
class Commit(Operation[Committed]):
    """Change a record as `record.apply` says."""

    key: Key
    edit: Edit
    until_s: float


@dataclass(frozen=True, slots=True)
class End(Operation[Stored]):
    """Put a tombstone in place of a record that is alive; the answer is what stood there before.

    Nothing is written over a tombstone, where nothing is, or over a revoked record.

    Attributes:
        version: of the record; nothing is written over another version. 0 means any.
    """

    key: Key
    tombstone: Tombstone
    until_s: float
    version: int = 0

    def is_about(self, before: Stored) -> bool:
        """Whether that is what it ends."""
        return before.alive is not None and self.version in (0, before.alive.version)


@dataclass(frozen=True, slots=True)
class RevokeUser(Operation[None]):
    """Give a user another epoch: every session of before is over, in one step.

    Attributes:
        epoch: 8 random bytes.
    """

    user: str
    epoch: bytes


@dataclass(frozen=True, slots=True)
class ListUser(Operation[list[tuple[Key, Record]]]):
    """Return a user's live records."""

    is_bulk = True
    user: str


@dataclass(frozen=True, slots=True)
class RevokeEveryone(Operation[None]):
    """Remove every record of every user, and remember when."""

    is_bulk = True
    now_s: float


class Facts(NamedTuple):
    """What a store knows of itself; it tells why a session is not there.

    Attributes:
        born_s: when this store was first used while empty; a later date than a session's start means that
            the store came back without its data.
        everyone_s: when everyone was revoked last; 0 for never.
    """

    born_s: float
    everyone_s: float


@dataclass(frozen=True, slots=True)
class ReadFacts(Operation[Facts]):
    """Return what the store knows of itself; `now_s` becomes its birth if it has none.

    Attributes:
        key: asks the part of the store that keeps this key.
    """

    now_s: float
    key: Key


@dataclass(frozen=True, slots=True)
class Purge(Operation[int]):
    """Remove what has expired, where the store does not do so by itself; return how much."""

    is_bulk = True
    now_s: float


def ask(operation: Operation[A]) -> Flow[A]:
    """Yield an operation and return its answer, with its type."""
    answer: A = yield operation
    return answer
