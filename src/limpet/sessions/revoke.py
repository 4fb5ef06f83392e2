"""Lists of a user's sessions, and their end from outside: flows for apps and for the command line."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from limpet.sessions.codec import pack
from limpet.sessions.decide import Verdict, judge
from limpet.sessions.migration.adopt import refuse_old
from limpet.sessions.operations import (
    EPOCH_BYTES,
    End,
    Flow,
    ListUser,
    RevokeEveryone,
    RevokeUser,
    Stored,
    ask,
)
from limpet.sessions.policy import TOMBSTONE_S
from limpet.sessions.record import EndReason, Key, Record, Tombstone

if TYPE_CHECKING:
    from limpet.sessions.service import Sessions


class Listed(NamedTuple):
    """One session of a user, as a list of devices shows it.

    Attributes:
        reference: names it for `revoke_session`; a keyed hash that opens nothing.
        created_s, seen_s, ends_s: wall clock; the last visit is known to a twentieth of the idle timeout.
        auth_s: wall clock of the login; 0 if it is not known, for the session came from another library.
    """

    reference: str
    device: str
    address: str
    created_s: float
    auth_s: float
    seen_s: float
    ends_s: float


def forms_of(user_id: Any) -> list[bytes]:
    """Return a user's id as it may have been given at login: `42` is the number 42 and the text "42".

    Each is another user to a store, and a revocation that finds nobody says nothing.
    """
    forms = [user_id]
    if isinstance(user_id, str):
        with suppress(ValueError):
            forms += [int(user_id)] if str(int(user_id)) == user_id else []
        with suppress(ValueError):
            forms.append(UUID(user_id))
    elif isinstance(user_id, int | UUID):
        forms.append(str(user_id))
    return [pack(each) for each in forms]


def list_user(sessions: Sessions, user_id: Any) -> Flow[list[Listed]]:
    """Return a user's live sessions, the one seen last first."""
    found = []
    for key, record in (yield from _records(sessions, _keys(sessions, user_id))).items():
        meta = record.meta
        found.append(
            Listed(
                sessions.ring.reference(key),
                meta.device,
                meta.address,
                meta.created_s,
                meta.auth_s,
                record.seen_s,
                meta.ends_s,
            )
        )
    return sorted(found, key=lambda each: -each.seen_s)


def revoke_user(sessions: Sessions, user_id: Any, *, with_old: bool) -> Flow[None]:
    """End every session of a user; `with_old` also those of another library that are not adopted yet.

    One step for each secret on the ring, there and back: a session that is being renewed from one secret
    to another meanwhile is caught where it comes from, or after that where it goes to.
    """
    for user in forms_of(user_id):
        if with_old:
            yield from refuse_old(sessions, user)
        user_keys = sessions.ring.user_keys(user)
        for user_key in [*reversed(user_keys), *user_keys[1:]]:
            yield from ask(RevokeUser(user_key, sessions.entropy(EPOCH_BYTES)))
    _note_end(sessions, _keys(sessions, user_id)[0])


def revoke_session(sessions: Sessions, user_id: Any, reference: str) -> Flow[bool]:
    """End one session of a user."""
    return (yield from _revoke(sessions, _keys(sessions, user_id), reference))


def revoke_reference(sessions: Sessions, reference: str) -> Flow[bool]:
    """End one session, whoever's it is."""
    user_key = reference.partition("-")[0]
    return (yield from _revoke(sessions, [user_key], reference))


def _keys(sessions: Sessions, user_id: Any) -> list[str]:
    return [key for user in forms_of(user_id) for key in sessions.ring.user_keys(user)]


def _revoke(sessions: Sessions, user_keys: list[str], reference: str) -> Flow[bool]:
    for key, record in (yield from _records(sessions, user_keys)).items():
        if sessions.ring.reference(key) == reference:
            return (yield from _end(sessions, user_keys, key, record))
    return False


def _end(sessions: Sessions, user_keys: list[str], key: Key, record: Record) -> Flow[bool]:
    # A session that gets another id meanwhile is followed there: it must not slip away.
    now_s, at = sessions.now_s(), key
    stone = Tombstone(EndReason.REVOKED, now_s)
    until_s = max(now_s + TOMBSTONE_S, record.meta.old_ends_s)
    while True:
        before = yield from ask(End(at, stone, until_s))
        if before.alive is not None:
            _note_end(sessions, sessions.ring.reference(key))
            return True
        successor = before.what.successor if isinstance(before.what, Tombstone) else None
        if successor is None or successor.user not in user_keys:
            return False
        at = successor


def revoke_everyone(sessions: Sessions) -> Flow[None]:
    """End every session of every user."""
    yield from ask(RevokeEveryone(sessions.now_s()))
    _note_end(sessions, "of everyone")


def _note_end(sessions: Sessions, reference: str) -> None:
    sessions.events.ended(EndReason.REVOKED, reference)
    if sessions.recent is not None:
        sessions.recent.forget_all()


def _records(sessions: Sessions, user_keys: list[str]) -> Flow[dict[Key, Record]]:
    now_s = sessions.now_s()
    listed: dict[Key, Record] = {}
    for user_key in user_keys:
        listed.update((yield from ask(ListUser(user_key))))
    judged = {
        key: judge(Stored(record, record.epoch), now_s, sessions.policy) for key, record in listed.items()
    }
    return {key: listed[key] for key, each in judged.items() if each.verdict is Verdict.FOUND}
