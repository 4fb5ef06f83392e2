"""What a store keeps of a session, and the one rule by which it may change. Pure.

A *record* is versioned as a whole and per field. A request reads it, and later asks to change some
fields, naming for each the version that it had read (0: there was none). `apply` is the rule
that every store follows, atomically:

- no record, a tombstone, another incarnation, or a revoked user: GONE. Nothing is ever brought back.
- a *strict* change to a field whose version is no longer the one that was read, or any change since
  with an *exclusive* edit: CONFLICT, nothing changes, and the answer holds the current record so that
  the request can think again.
- otherwise every change is made, whoever else has changed other fields meanwhile; where both
  changed the same field the later commit wins.

A *tombstone* stands where a session was, for as long as requests with its id may straggle in: it
says why the session ended, and after a change of id where it went on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from limpet.sessions.codec import pack, unpack
from limpet.sessions.errors import UndecodableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")
_NUMBERS = (float, int)

TOKEN_BYTES = 8
#: How many of the last commits a record remembers, to recognise one that is sent again.
_TOKENS_KEPT = 8


class EndReason(Enum):
    """Why a session ended, or why a cookie counts for nothing; a label of logs and metrics."""

    LOGOUT = "logout"
    IDLE = "idle"
    ABSOLUTE = "absolute"
    REVOKED = "revoked"
    ROTATED = "rotated"
    RENEWED = "renewed"
    LOST = "lost"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"


class Key(NamedTuple):
    """Where a store keeps a session.

    Attributes:
        session: SHA-256 of the id, 64 hexadecimal digits.
        user: keyed hash of the user, 32 hexadecimal digits; empty for a visitor.
    """

    session: str
    user: str


class Meta(NamedTuple):
    """What is known of a session beside its fields; it rarely changes.

    Attributes:
        incarnation: 16 random bytes; stays when the id changes.
        user: the user's id, encoded; empty for a visitor.
        created_s: wall clock.
        auth_s: wall clock of the login; 0 for a visitor.
        ends_s: wall clock of the absolute end.
        idle_s: how long the session lives without a visit.
        is_persistent: whether the cookie outlives the browser.
        confirmed_s: when a client first showed this id after a renewal; 0 for not yet.
        device: what the app calls the client, or its User-Agent.
        address: the client's IP address at login.
        old: tag of the other library's cookies that came along when this session began; empty for none.
        old_ends_s: wall clock until which such a cookie leads here, so that a trace must stay; 0 if
            none does.
    """

    incarnation: bytes
    user: bytes
    created_s: float
    auth_s: float
    ends_s: float
    idle_s: float
    is_persistent: bool = True
    confirmed_s: float = 0.0
    device: str = ""
    address: str = ""
    old: bytes = b""
    old_ends_s: float = 0.0


class Field(NamedTuple):
    """A field as it is stored: the version that last changed it, and its encoded value."""

    version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """A stored session.

    Attributes:
        version: 1 for a new one; each commit that changes something adds 1.
        epoch: the user's epoch at login; empty for a visitor. Another epoch means revoked.
        seen_s: wall clock of the last visit that was written down.
        tokens: the tokens of the last commits, newest last.
    """

    version: int
    epoch: bytes
    seen_s: float
    meta: Meta
    fields: Mapping[str, Field] = field(repr=False)  # they are the user's own
    tokens: bytes = b""


class Tombstone(NamedTuple):
    """What stands where a session was.

    Attributes:
        at_s: wall clock of the end.
        successor: where the session goes on after ROTATED or RENEWED.
        until_s: wall clock; how long requests that began before may still write to the successor.
    """

    reason: EndReason
    at_s: float
    successor: Key | None = None
    until_s: float = 0.0


class Change(NamedTuple):
    """What a request wants of one field.

    Attributes:
        base: the field's version that was read; 0 if there was none.
        data: the new encoded value; None deletes the field.
        is_strict: refuse if someone else has changed the field since.
    """

    name: str
    base: int
    data: bytes | None
    is_strict: bool = False


class Outcome(Enum):
    """How a commit ended."""

    APPLIED = "applied"
    MERGED = "merged"
    CONFLICT = "conflict"
    GONE = "gone"


class Committed(NamedTuple):
    """The answer to a commit.

    Attributes:
        record: the current record, with CONFLICT only.
        tombstone: what stands there, with GONE if anything does.
        version: of the record as it stands there now; 0 with GONE.
    """

    outcome: Outcome
    record: Record | None = None
    tombstone: Tombstone | None = None
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Everything that one request wants of a record.

    Attributes:
        incarnation: of the record that was read.
        base_version: of the record that was read.
        changes: at most one for each field; none for a mere sign of life.
        seen_s: wall clock of this visit.
        meta: new lifetimes and labels; None leaves them.
        token: 8 random bytes; the same for every sending of this edit. After tokens of other edits
            that it makes known along with its own, it is no longer recognised itself.
        is_exclusive: refuse if anything has changed since `base_version`.
    """

    incarnation: bytes
    base_version: int
    changes: tuple[Change, ...]
    seen_s: float
    meta: Meta | None
    token: bytes
    is_exclusive: bool = False


def apply(
    stored: Record | Tombstone | None, edit: Edit, epoch: bytes | None
) -> tuple[Committed, Record | None]:
    """Decide a commit.

    Args:
        stored: what stands at the key now.
        epoch: the user's epoch now; None if the store has none, b"" for a visitor.

    Returns:
        The answer, and the record to write in place of the old one; None to write nothing.
    """
    if not isinstance(stored, Record):
        return Committed(Outcome.GONE, tombstone=stored), None
    if stored.meta.incarnation != edit.incarnation or stored.epoch != epoch:
        return Committed(Outcome.GONE), None
    if edit.token in tokens_of(stored):
        return Committed(Outcome.APPLIED, version=stored.version), None
    if _is_overtaken(stored, edit):
        return Committed(Outcome.CONFLICT, record=stored, version=stored.version), None
    outcome = Outcome.APPLIED if stored.version == edit.base_version else Outcome.MERGED
    record = changed(stored, edit)
    return Committed(outcome, version=record.version), record


def _is_overtaken(stored: Record, edit: Edit) -> bool:
    if edit.is_exclusive and stored.version != edit.base_version:
        return True
    return any(is_overtaken(each, stored.fields) for each in edit.changes)


def is_overtaken(change: Change, current: Mapping[str, Field]) -> bool:
    """Whether a strict change is to be refused, for someone else has changed the field since."""
    return change.is_strict and _version(current, change.name) != change.base


def _version(fields: Mapping[str, Field], name: str) -> int:
    field = fields.get(name)
    return field.version if field is not None else 0


def changed(stored: Record, edit: Edit) -> Record:
    """Return a record as an edit leaves it."""
    version = stored.version + 1 if edit.changes or edit.meta is not None else stored.version
    fields = dict(stored.fields)
    for change in edit.changes:
        if change.data is None:
            fields.pop(change.name, None)
        else:
            fields[change.name] = Field(version, change.data)
    return replace(
        stored,
        version=version,
        seen_s=max(stored.seen_s, edit.seen_s),
        meta=edit.meta if edit.meta is not None else stored.meta,
        fields=fields,
        tokens=(stored.tokens + edit.token)[-_TOKENS_KEPT * TOKEN_BYTES :],
    )


def tokens_of(record: Record) -> list[bytes]:
    """Return the tokens of the last commits, newest last."""
    tokens = record.tokens
    return [tokens[at : at + TOKEN_BYTES] for at in range(0, len(tokens), TOKEN_BYTES)]


def differences(before: Mapping[str, Field], after: Mapping[str, Field]) -> tuple[Change, ...]:
    """Return the changes that give the one's values to the other; versions do not matter."""
    changed = [
        Change(name, _version(before, name), field.data)
        for name, field in after.items()
        if name not in before or before[name].data != field.data
    ]
    deleted = [Change(name, field.version, None) for name, field in before.items() if name not in after]
    return tuple(changed + deleted)


def pack_meta(meta: Meta) -> bytes:
    """Return the meta data as bytes."""
    return pack(list(meta))


def unpack_meta(data: bytes) -> Meta:
    """Return the meta data of bytes.

    Raises:
        UndecodableError: bytes that `pack_meta` does not make.
    """
    return _checked(lambda: _meta(unpack(data)))


def pack_tombstone(tombstone: Tombstone) -> bytes:
    """Return a tombstone as bytes."""
    successor = list(tombstone.successor) if tombstone.successor is not None else None
    return pack([tombstone.reason.value, tombstone.at_s, successor, tombstone.until_s])


def unpack_tombstone(data: bytes) -> Tombstone:
    """Return the tombstone of bytes.

    Raises:
        UndecodableError: bytes that `pack_tombstone` does not make.
    """

    def read() -> Tombstone:
        reason, at_s, successor, until_s = unpack(data)
        key = Key(*successor) if successor is not None else None
        return Tombstone(EndReason(reason), _time(at_s), key, _time(until_s))

    return _checked(read)


def pack_stored(stored: Record | Tombstone) -> bytes:
    """Return a record or tombstone as one blob, for stores without fields of their own."""
    if isinstance(stored, Tombstone):
        return b"T" + pack_tombstone(stored)
    fields = {name: list(field) for name, field in stored.fields.items()}
    meta = list(stored.meta)
    return b"R" + pack([stored.version, stored.epoch, stored.seen_s, meta, fields, stored.tokens])


def unpack_stored(data: bytes) -> Record | Tombstone:
    """Return the record or tombstone of a blob.

    Raises:
        UndecodableError: bytes that `pack_stored` does not make.
    """

    def read() -> Record:
        version, epoch, seen_s, meta, fields, tokens = unpack(data[1:])
        named = {name: Field(*each) for name, each in fields.items()}
        return Record(version, epoch, _time(seen_s), _meta(meta), named, tokens)

    if data[:1] == b"T":
        return unpack_tombstone(data[1:])
    if data[:1] == b"R":
        return _checked(read)
    raise UndecodableError("a stored session has an unknown format")


def _meta(values: Iterable[Any]) -> Meta:
    meta = Meta(*values)
    for time_s in (meta.created_s, meta.auth_s, meta.ends_s, meta.idle_s, meta.confirmed_s, meta.old_ends_s):
        _time(time_s)
    return meta


def _time(value: Any) -> Any:
    # Decisions compare times; with anything else, or NaN, a session would never end, or crash the request.
    if type(value) not in _NUMBERS or not math.isfinite(value):
        raise ValueError("no time")
    return value


def _checked(read: Callable[[], T]) -> T:
    try:
        return read()
    except (AttributeError, TypeError, ValueError) as error:
        raise UndecodableError(f"a stored session does not decode ({type(error).__name__})") from None
