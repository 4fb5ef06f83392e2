"""How a session of another library becomes a limpet session: flows, no I/O here.

The id of the adopted session is derived from the old session and the secret. So parallel first
requests adopt into one session, whichever comes first, and whatever ends that session leaves its
trace at a key that the old cookie leads to: the old cookie cannot bring it back. The trace stays
for as long as the old session could live.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from limpet.sessions.codec import pack
from limpet.sessions.errors import UnsupportedValueError
from limpet.sessions.migration.source import LONGEST_S, EndOld, ReadOld
from limpet.sessions.operations import EPOCH_BYTES, Create, End, Flow, Load, ReadFacts, Stored, ask
from limpet.sessions.policy import TOMBSTONE_S, store_until_s
from limpet.sessions.record import EndReason, Field, Key, Meta, Record, Tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.sessions.migration.source import OldSession, Source
    from limpet.sessions.request_state import Client
    from limpet.sessions.service import Sessions
    from limpet.sessions.session import Session
    from limpet.sessions.session_id import SessionId
    from limpet.sessions.stores.guard import Guard

LOG = logging.getLogger("limpet.sessions")
_INCARNATION_BYTES = 16


class GuardedSource(NamedTuple):
    """A source, and the guard that its operations go through."""

    source: Source
    guard: Guard


class Offer(NamedTuple):
    """A cookie of a request whose name is that of an old cookie."""

    source: Source
    guard: Guard
    value: str


class Shown(NamedTuple):
    """An old session that a cookie names, if the old library still knows it."""

    source: Source
    guard: Guard
    identity: str


class Adopted(NamedTuple):
    """An adopted session, new or not: its id, and what stands there; a tombstone if it is over."""

    session_id: SessionId
    stored: Stored


def find_offers(sources: tuple[GuardedSource, ...], cookies: Mapping[str, str]) -> tuple[Offer, ...]:
    """Return the cookies of a request that sources may know."""
    if not sources:
        return ()
    named = ((*each, cookies.get(each.source.cookie.full_name)) for each in sources)
    return tuple(Offer(source, guard, value) for source, guard, value in named if value)


def look_at(offers: tuple[Offer, ...]) -> tuple[Shown, ...]:
    """Return the old sessions that cookies name; no I/O, but signatures are verified."""
    found = ((source, guard, source.identify(value)) for source, guard, value in offers)
    return tuple(Shown(source, guard, identity) for source, guard, identity in found if identity is not None)


def adopt(session: Session, sessions: Sessions, *, logged_in_only: bool) -> Flow[Adopted | None]:
    """Adopt the first old session that its library still knows.

    Args:
        session: of the request that shows the old cookies.
        logged_in_only: leave sessions of visitors alone.

    Returns:
        The adopted session; None if there is none to adopt.
    """
    now_s = sessions.now_s()
    for each in session.shown:
        old = yield from ask(ReadOld(each.guard, each.identity, now_s))
        if old is None or not old.fields:
            continue
        user = _user(each.source, old, sessions)
        if user or not logged_in_only:
            adoption = _Adoption(each, old, user, session.old_tag)
            return (yield from _adopt(adoption, sessions, session.client, now_s))
    return None


def end_old(shown: tuple[Shown, ...]) -> Flow[None]:
    """Remove old sessions, so that a return to the old library does not bring them back."""
    for each in shown:
        yield from ask(EndOld(each.guard, each.identity))


def refuse_old(sessions: Sessions, user: bytes) -> Flow[None]:
    """Let no session of a user be adopted that the old library wrote before now."""
    now_s = sessions.now_s()
    # It is over from the start, so that no list shows it as a session.
    meta = Meta(
        sessions.entropy(_INCARNATION_BYTES), user, now_s, 0.0, now_s, 0.0, old_ends_s=now_s + LONGEST_S
    )
    for key in _refusals(sessions, user):
        seed = sessions.entropy(EPOCH_BYTES)
        yield from ask(Create(key, Record(1, b"", now_s, meta, {}), store_until_s(meta, now_s), seed))


class _Adoption(NamedTuple):
    shown: Shown
    old: OldSession
    user: bytes
    tag: bytes


def _user(source: Source, old: OldSession, sessions: Sessions) -> bytes:
    user = source.user_of(old.fields, sessions.user_field)
    return b"" if user is None else pack(user)


def _adopt(adoption: _Adoption, sessions: Sessions, client: Client, now_s: float) -> Flow[Adopted]:
    (source, _, identity), old, user, tag = adoption
    policy = sessions.policy
    idle_s = policy.idle_s if old.idle_s is None else old.idle_s
    ends_s = now_s + max(policy.absolute_s, idle_s) if old.absolute_end_s is None else old.absolute_end_s
    meta = Meta(
        incarnation=sessions.entropy(_INCARNATION_BYTES),
        user=user,
        created_s=now_s,
        auth_s=0.0,  # the old library does not say; a check for a fresh login asks again
        ends_s=ends_s,
        idle_s=idle_s,
        is_persistent=old.is_persistent,
        confirmed_s=now_s,
        device=client.user_agent,
        address=client.address,
        old=tag,
        old_ends_s=old.ends_s,
    )
    newest, *older = sessions.ring.adopted_ids(
        pack([source.name, identity, user]), user=user, issued_s=now_s, ends_s=ends_s
    )
    for session_id in older:  # a server whose newest secret is still an older one may have been first
        stored = yield from ask(Load(session_id.key))
        if stored.what is not None:
            return _adopted(session_id, stored, sessions)
    record = Record(1, b"", now_s, meta, _fields(adoption, sessions, meta.incarnation))
    seed = sessions.entropy(EPOCH_BYTES)
    stored = yield from ask(Create(newest.key, record, store_until_s(meta, now_s), seed))
    if stored.alive is None:
        return _adopted(newest, stored, sessions)
    if (yield from _is_refused(adoption, sessions, newest.key, now_s)):
        stone = Tombstone(EndReason.REVOKED, now_s)
        yield from ask(End(newest.key, stone, max(now_s + TOMBSTONE_S, old.ends_s)))
        return Adopted(newest, Stored(stone, stored.epoch))
    if stored.alive.meta.incarnation == meta.incarnation:
        sessions.events.adopted(source.name, sessions.ring.reference(newest.key))
    return _adopted(newest, stored, sessions)


def _adopted(session_id: SessionId, stored: Stored, sessions: Sessions) -> Adopted:
    # The times of the record, so that parallel requests set the same cookie.
    if isinstance(stored.what, Record):
        meta = stored.what.meta
        session_id = sessions.ring.extended(session_id, meta.ends_s)._replace(issued_s=int(meta.created_s))
    return Adopted(session_id, stored)


def _fields(adoption: _Adoption, sessions: Sessions, incarnation: bytes) -> dict[str, Field]:
    # A value that cannot be stored costs the user that one field, not the login.
    fields = {}
    for name, value in adoption.old.fields.items():
        try:
            if not isinstance(name, str):
                raise UnsupportedValueError(f"a name of type {type(name).__name__}, which must be str")  # noqa: TRY301
            sealed = sessions.sealing.seal(pack(value), context=incarnation + name.encode())
        except UnsupportedValueError as error:
            sessions.events.left_out(adoption.shown.source.name, repr(name), error)
        else:
            fields[name] = Field(1, sealed)
    return fields


def _is_refused(adoption: _Adoption, sessions: Sessions, key: Key, now_s: float) -> Flow[bool]:
    # Asked after the session was written: a revocation that comes later finds it written.
    written_s = adoption.old.written_s
    facts = yield from ask(ReadFacts(now_s, key))
    if facts.everyone_s and written_s <= facts.everyone_s:
        LOG.warning("an old session is not adopted: everyone was revoked at %.0f", facts.everyone_s)
        return True
    for refusal in _refusals(sessions, adoption.user):
        stored = yield from ask(Load(refusal))
        if isinstance(stored.what, Record) and written_s <= stored.what.meta.created_s:
            return True
    return False


def _refusals(sessions: Sessions, user: bytes) -> list[Key]:
    if not user:
        return []
    ids = sessions.ring.adopted_ids(pack(["refused", user]), user=user, issued_s=0, ends_s=0)
    return [each.key for each in ids]
