"""Operations as Redis commands and replies as answers; pure, shared by the sync and async clients.

All keys of a user's sessions share a hash tag, so they live in one slot of a cluster and a script
or pipeline reaches them in one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from hashlib import sha1
from typing import Any, TypeAlias

from limpet.sessions.errors import UndecodableError
from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    Facts,
    ListUser,
    Load,
    Operation,
    ReadFacts,
    RevokeEveryone,
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
from limpet.sessions.stores import NAMESPACE, redis_scripts
from limpet.sessions.stores.redis_links import Command

_DURABLE = (Create, RevokeUser)
_FACTS = f"{NAMESPACE}facts"
#: What all keys of sessions and users begin with; they have a hash tag.
TRACKED_PREFIX = f"{NAMESPACE}{{"
#: Matches all of them.
EVERY_KEY = f"{TRACKED_PREFIX}*"
#: Yields commands that go out in one round trip, is sent their replies, returns the answer.
Steps: TypeAlias = Generator[list[Command], list[Any], Any]


def _call(body: str, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> Command:
    return ("EVALSHA", _SHAS[body], len(keys), *keys, *arguments)


def in_full(batch: list[Command]) -> list[Command]:
    """Return commands with scripts in full, for a server that does not know them yet."""
    return [("EVAL", _BODIES[each[1]], *each[2:]) if each[0] == "EVALSHA" else each for each in batch]


# SHA-1 is how Redis names scripts; it protects nothing.
_SHAS = {
    body: sha1(body.encode(), usedforsecurity=False).hexdigest()
    for body in (redis_scripts.CREATE, redis_scripts.COMMIT, redis_scripts.END)
}
_BODIES = {name: body for body, name in _SHAS.items()}


def steps(operation: Operation[Any]) -> Steps:
    """Return the commands of an operation, step by step."""
    return _STEPS[type(operation)](operation)


def is_durable(operation: Operation[Any]) -> bool:
    """Whether the operation must reach the replicas that the configuration asks for.

    A login, logout or revocation. The end of an id whose session goes on under another is none: the
    client must get the other id, which is on the replicas already.
    """
    if isinstance(operation, End):
        return operation.tombstone.successor is None
    return isinstance(operation, _DURABLE)


def place(operation: Operation[Any]) -> str:
    """Return a key that lies where the operation's keys do; empty if they lie everywhere."""
    if isinstance(operation, ReadFacts):
        return _FACTS
    if isinstance(operation, ListUser | RevokeUser):
        return epoch_key(operation.user)
    return record_key(operation.key) if isinstance(operation, Load | Create | Commit | End) else ""


def ask_time(batch: list[Command]) -> Command:
    """Return a command that asks the server for its clock; in a Cluster the one that has the batch's keys."""
    first = batch[0]
    return ("EVAL", "return redis.call('TIME')", 1, first[3] if first[0] == "EVALSHA" else first[1])


def read_time(reply: Any) -> float:
    """Return the server's wall clock."""
    seconds, microseconds = reply
    return int(seconds) + int(microseconds) / 1e6


def revoked_everyone(operation: RevokeEveryone) -> Command:
    """Return the command that remembers when everyone was revoked."""
    return ("HSET", _FACTS, "everyone_s", operation.now_s)


def record_key(key: Key) -> str:
    """Return where a record is."""
    return f"{NAMESPACE}{{{key.user or key.session[:32]}}}:s:{key.session}"


def epoch_key(user: str) -> str:
    """Return where a user's epoch is."""
    return f"{NAMESPACE}{{{user}}}:e"


def index_key(user: str) -> str:
    """Return where the list of a user's sessions is."""
    return f"{NAMESPACE}{{{user}}}:i"


def changed_by(names: Iterable[bytes]) -> tuple[list[str], list[str]]:
    """Return which sessions, and all sessions of which users, are concerned by changes of keys."""
    sessions, users = [], []
    for name in names:
        head, _, tail = name.decode("latin-1").rpartition(":")
        if tail == "e":
            users.append(head[len(TRACKED_PREFIX) : -1])
        elif tail != "i":
            sessions.append(tail)
    return sessions, users


def _keys(key: Key) -> tuple[str, ...]:
    # Scripts with one key can follow a slot of a Cluster that is being moved.
    return (record_key(key), epoch_key(key.user), index_key(key.user)) if key.user else (record_key(key),)


def _load(operation: Load) -> Steps:
    key = operation.key
    commands: list[Command] = [("HGETALL", record_key(key))]
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
    (reply,) = yield [_call(redis_scripts.CREATE, _keys(key), (*head, *pairs))]
    epoch, before = reply
    if before:
        return Stored(_read(before), epoch)
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
        _flag(edit.is_exclusive),
        key.session,
    ]
    for change in edit.changes:
        arguments += _change(change)
    (reply,) = yield [_call(redis_scripts.COMMIT, _keys(key), tuple(arguments))]
    outcome = Outcome(reply[0].decode())
    if outcome is Outcome.CONFLICT:
        record = _record(_pairs(reply[1]))
        return Committed(outcome, record=record, version=record.version)
    if outcome is Outcome.GONE:
        return Committed(outcome, tombstone=unpack_tombstone(reply[1]) if len(reply) > 1 else None)
    return Committed(outcome, version=int(reply[1]))


def _change(change: Change) -> list[Any]:
    kind = "delete" if change.data is None else "set"
    return [change.name.encode(), change.base, kind, _flag(change.is_strict), change.data or b""]


def _end(operation: End) -> Steps:
    key = operation.key
    stone = pack_tombstone(operation.tombstone)
    arguments = (_ms(operation.until_s), stone, _flag(key.user), key.session, operation.version)
    (reply,) = yield [_call(redis_scripts.END, _keys(key), arguments)]
    epoch, before = reply
    return Stored(_read(before), epoch)


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
    _, facts = yield [("HSETNX", _FACTS, "born_s", operation.now_s), ("HGETALL", _FACTS)]
    found = _pairs(facts)
    return Facts(float(found[b"born_s"]), float(found.get(b"everyone_s", 0)))


def _read(reply: Any) -> Record | Tombstone | None:
    fields = _pairs(reply)
    if not fields:
        return None
    return unpack_tombstone(fields[b"d"]) if b"d" in fields else _record(fields)


def _record(fields: Mapping[bytes, bytes]) -> Record:
    try:
        named = {name[2:].decode(): value for name, value in fields.items() if name[:2] == b"f:"}
        return Record(
            version=int(fields[b"v"]),
            epoch=fields[b"e"],
            seen_s=float(fields[b"t"]),
            meta=unpack_meta(fields[b"m"]),
            fields=_Fields(named),
            tokens=fields[b"k"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UndecodableError(f"a stored session does not decode ({type(error).__name__})") from None


class _Fields(Mapping[str, Field]):
    # Fields as Redis keeps them, taken apart when they are asked for: most requests read few of them.

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, bytes]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Field:
        return _field(self._values[name])

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _field(value: bytes) -> Field:
    version, colon, data = value.partition(b":")
    if not colon or not version.isdigit():
        raise UndecodableError("a stored session field does not decode")
    return Field(int(version), data)


def _pairs(reply: Any) -> Mapping[bytes, bytes]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


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
