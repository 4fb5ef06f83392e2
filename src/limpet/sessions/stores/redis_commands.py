"""Operations as Redis commands and replies as answers; pure, shared by the sync and async clients.

All keys of a user's sessions share a hash tag, so they live in one slot of a cluster and a script
or pipeline reaches them in one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from hashlib import sha1
from typing import Any, NamedTuple, TypeAlias

from limpet.sessions.errors import StoreUnavailableError, UndecodableError
from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    Facts,
    ListUser,
    Load,
    Operation,
    ReadFacts,
    RevokeUser,
    Stored,
)
from limpet.sessions.policy import STORE_SLACK_S
from limpet.sessions.record import (
    Change,
    Committed,
    Field,
    Key,
    Outcome,
    Record,
    Tombstone,
    pack_meta,
    pack_tombstone,
    unpack_meta,
    unpack_tombstone,
)
from limpet.sessions.stores import redis_scripts

PREFIX = "limpet:"
FACTS = "limpet:facts"
Command: TypeAlias = tuple[Any, ...]
#: Yields commands that go out in one round trip, is sent their replies, returns the answer.
Steps: TypeAlias = Generator[list["Command | Script"], list[Any], Any]


class Script(NamedTuple):
    """A call of a script: by its hash if the server knows it."""

    body: str
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]

    def by_hash(self) -> Command:
        """Return the command that sends the hash only."""
        return ("EVALSHA", _sha(self.body), len(self.keys), *self.keys, *self.arguments)

    def in_full(self) -> Command:
        """Return the command that sends the script, which the server then knows."""
        return ("EVAL", self.body, len(self.keys), *self.keys, *self.arguments)


_SHAS: dict[str, str] = {}


def _sha(body: str) -> str:
    # SHA-1 is how Redis names scripts; it protects nothing.
    return _SHAS.setdefault(body, sha1(body.encode(), usedforsecurity=False).hexdigest())


def steps(operation: Operation[Any]) -> Steps:
    """Return the commands of an operation, step by step."""
    return _STEPS[type(operation)](operation)


def is_durable(operation: Operation[Any]) -> bool:
    """Whether the operation must reach the replicas that the configuration asks for."""
    return isinstance(operation, Create | End | RevokeUser)


def record_key(key: Key) -> str:
    """Return where a record is."""
    return f"{PREFIX}{{{key.user or key.session[:32]}}}:s:{key.session}"


def epoch_key(user: str) -> str:
    """Return where a user's epoch is."""
    return f"{PREFIX}{{{user}}}:e"


def index_key(user: str) -> str:
    """Return where the list of a user's sessions is."""
    return f"{PREFIX}{{{user}}}:i"


def _keys(key: Key) -> tuple[str, str, str]:
    # For a visitor the last two stay untouched, but must be of the same slot.
    tag = key.user or key.session[:32]
    return record_key(key), epoch_key(tag), index_key(tag)


def _load(operation: Load) -> Steps:
    key = operation.key
    commands: list[Command | Script] = [("HGETALL", record_key(key))]
    if key.user:
        commands.append(("GET", epoch_key(key.user)))
    replies = yield commands
    return Stored(_read(replies[0]), replies[1] if key.user else b"")


def _create(operation: Create) -> Steps:
    key, record = operation.key, operation.record
    pairs: list[Any] = [
        "g",
        record.meta.incarnation,
        "v",
        record.version,
        "t",
        record.seen_s,
        "m",
        pack_meta(record.meta),
        "k",
        record.tokens,
    ]
    for name, field in record.fields.items():
        pairs += [b"f:" + name.encode(), b"%d:%b" % field]
    ends = _ms(record.meta.ends_s + STORE_SLACK_S)
    head = (_ms(operation.until_s), ends, _ms(record.seen_s), operation.seed, _flag(key.user), key.session)
    (reply,) = yield [Script(redis_scripts.CREATE, _keys(key), (*head, *pairs))]
    epoch, before = reply
    if before:
        return Stored(_read(_pairs(before)), epoch)
    created = Record(record.version, epoch or b"", record.seen_s, record.meta, record.fields, record.tokens)
    return Stored(created, epoch)


def _commit(operation: Commit) -> Steps:
    key, edit = operation.key, operation.edit
    arguments = [
        _ms(operation.until_s),
        _ms(edit.meta.ends_s + STORE_SLACK_S) if edit.meta is not None else 0,
        edit.incarnation,
        edit.base_version,
        edit.token,
        edit.seen_s,
        pack_meta(edit.meta) if edit.meta is not None else b"",
        _flag(key.user),
    ]
    for change in edit.changes:
        arguments += _change(change)
    (reply,) = yield [Script(redis_scripts.COMMIT, _keys(key)[:2], tuple(arguments))]
    outcome = Outcome(reply[0].decode())
    if outcome is Outcome.CONFLICT:
        return Committed(outcome, record=_record(_pairs(reply[1])))
    tombstone = unpack_tombstone(reply[1]) if outcome is Outcome.GONE and len(reply) > 1 else None
    return Committed(outcome, tombstone=tombstone)


def _change(change: Change) -> list[Any]:
    kind = "delete" if change.data is None else "set"
    return [change.name.encode(), change.base, kind, _flag(change.is_strict), change.data or b""]


def _end(operation: End) -> Steps:
    key = operation.key
    arguments = (_ms(operation.until_s), pack_tombstone(operation.tombstone), _flag(key.user), key.session)
    (reply,) = yield [Script(redis_scripts.END, _keys(key), arguments)]
    epoch, before = reply
    return Stored(_read(_pairs(before)), epoch)


def _revoke_user(operation: RevokeUser) -> Steps:
    # Without an epoch no session of the user counts, so there is nothing to revoke.
    yield [("SET", epoch_key(operation.user), operation.epoch, "XX", "KEEPTTL")]


def _list_user(operation: ListUser) -> Steps:
    user = operation.user
    sessions, epoch = yield [("ZRANGE", index_key(user), 0, -1), ("GET", epoch_key(user))]
    keys = [Key(session.decode(), user) for session in sessions]
    if not keys:
        return []
    replies = yield [("HGETALL", record_key(key)) for key in keys]
    stored = [(key, Stored(_read(reply), epoch).alive) for key, reply in zip(keys, replies, strict=True)]
    return [(key, record) for key, record in stored if record is not None]


def _read_facts(operation: ReadFacts) -> Steps:
    # The write also proves that a primary answers: a replica refuses it.
    _, facts = yield [("HSETNX", FACTS, "born_s", operation.now_s), ("HGETALL", FACTS)]
    return Facts(float(facts[b"born_s"]), float(facts.get(b"everyone_s", 0)))


def _read(fields: Mapping[bytes, bytes]) -> Record | Tombstone | None:
    if not fields:
        return None
    return unpack_tombstone(fields[b"d"]) if b"d" in fields else _record(fields)


def _record(fields: Mapping[bytes, bytes]) -> Record:
    try:
        named = {name[2:].decode(): _field(value) for name, value in fields.items() if name.startswith(b"f:")}
        return Record(
            version=int(fields[b"v"]),
            epoch=fields[b"e"],
            seen_s=float(fields[b"t"]),
            meta=unpack_meta(fields[b"m"]),
            fields=named,
            tokens=fields[b"k"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UndecodableError(f"a stored session does not decode ({type(error).__name__})") from None


def _field(value: bytes) -> Field:
    version, colon, data = value.partition(b":")
    if not colon:
        raise UndecodableError("a stored session field does not decode")
    return Field(int(version), data)


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _ms(time_s: float) -> int:
    return int(time_s * 1000)


def _flag(value: object) -> str:
    return "1" if value else "0"


_STEPS: dict[type, Callable[[Any], Steps]] = {
    Load: _load,
    Create: _create,
    Commit: _commit,
    End: _end,
    RevokeUser: _revoke_user,
    ListUser: _list_user,
    ReadFacts: _read_facts,
}


def check_replicas(reply: int, wanted: int) -> None:
    """Make sure that enough replicas have a write.

    Raises:
        StoreUnavailableError: the primary has it; a failover now might lose it.
    """
    if reply < wanted:
        raise StoreUnavailableError(f"only {reply} of {wanted} replicas confirmed a write in time")
