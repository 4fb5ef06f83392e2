"""What happens between a session and its store at the first access, as flows: no I/O here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from limpet.sessions import decide
from limpet.sessions.decide import Verdict
from limpet.sessions.errors import StoreUnavailableError, UndecodableError
from limpet.sessions.migration.adopt import adopt
from limpet.sessions.operations import Flow, Load, ReadFacts, Stored, ask
from limpet.sessions.request_state import Loaded

if TYPE_CHECKING:
    from limpet.sessions.recent import Recent
    from limpet.sessions.record import Key, Record
    from limpet.sessions.request_state import Client
    from limpet.sessions.service import Sessions
    from limpet.sessions.session import Session
    from limpet.sessions.session_id import SessionId


def load(session: Session, sessions: Sessions) -> Flow[None]:
    """Ask for the session that the request's cookies name, ours first, and tell the session."""
    try:
        loaded = yield from _load_any(session, sessions)
    except StoreUnavailableError as error:
        sessions.events.failed(error)
        loaded = _stale(session, session.session_id, sessions, error)
    else:
        if sessions.recent is not None:
            _remember(session.session_id, loaded, sessions.recent, sessions.now_s())
        _compare(session, loaded, sessions)
    session.take(loaded)


def confirm(session: Session, sessions: Sessions) -> Flow[None]:
    """Ask the primary for a session of which there is a copy; what the request has changed stays."""
    try:
        loaded = yield from _load_any(session, sessions, may_be_copy=False)
    except StoreUnavailableError as error:
        sessions.events.failed(error)
        loaded = Loaded(Verdict.UNKNOWN, failure=error)
    session.confirm(loaded)


def _compare(session: Session, loaded: Loaded, sessions: Sessions) -> None:
    # Served all the same: to log the user out would be worse than what the store has lost.
    record, key = loaded.record, loaded.key
    if record is None or key is None:
        return
    floor = sessions.balancer.floor(session.client, key)
    if record.version < floor:
        sessions.events.fell_behind(sessions.ring.reference(key), record.version, floor)


def _load_any(session: Session, sessions: Sessions, *, may_be_copy: bool = True) -> Flow[Loaded]:
    session_id = session.session_id
    own = Loaded(Verdict.ABSENT)
    if session_id is not None:
        own = yield from _load(session_id, sessions, session.client, may_be_copy=may_be_copy)
    if not _may_adopt(session, own.record):
        return own
    adopted = yield from adopt(session, sessions, logged_in_only=own.record is not None)
    if adopted is None:
        return own
    key = adopted.session_id.key
    loaded = yield from _opened(adopted.session_id, key, adopted.stored, sessions)
    if loaded.record is None:
        return loaded if own.record is None else own
    session.session_id = adopted.session_id
    return replace(loaded, is_adopted=True)


def _may_adopt(session: Session, own: Record | None) -> bool:
    # Our session rules. But a visitor may have logged in meanwhile on a server that runs the old
    # library still: then the old cookie is another one than when our session began.
    if own is None:
        return bool(session.shown)
    return not own.meta.user and session.old_tag not in (b"", own.meta.old)


def _remember(session_id: SessionId | None, loaded: Loaded, recent: Recent, now_s: float) -> None:
    if session_id is None:
        return
    if loaded.is_copy:
        return  # what is remembered is what the store said, and when
    if loaded.key is not None and loaded.record is not None:
        recent.remember(session_id.key, loaded.key, loaded.record, now_s)
    else:
        recent.forget(session_id.key)


def _stale(
    session: Session, session_id: SessionId | None, sessions: Sessions, error: StoreUnavailableError
) -> Loaded:
    # What a store said that makes no sense is no reason to believe an old copy instead.
    may_read = session.client.is_safe and not isinstance(error, UndecodableError)
    now_s, recent = sessions.now_s(), sessions.recent
    found = recent.find(session_id.key, now_s) if recent and session_id and may_read else None
    if found is not None:
        key, record = found
        judgement = decide.judge(Stored(record, record.epoch), now_s, sessions.policy)
        if judgement.record is not None and record.version >= sessions.balancer.floor(session.client, key):
            return Loaded(Verdict.FOUND, key, record, failure=error)
    return Loaded(Verdict.UNKNOWN, failure=error)


def _load(session_id: SessionId, sessions: Sessions, client: Client, *, may_be_copy: bool) -> Flow[Loaded]:
    key = session_id.key
    may_be_copy = may_be_copy and client.is_safe and not client.is_lasting
    stored = yield from ask(Load(key, may_be_copy, sessions.balancer.floor(client, key)))
    if stored.is_copy:
        judgement = decide.judge(stored, sessions.now_s(), sessions.policy)
        if judgement.verdict is Verdict.FOUND:
            return Loaded(Verdict.FOUND, key, judgement.record, is_copy=True)
        stored = yield from ask(Load(key))  # only the primary can say that it is over
    return (yield from _opened(session_id, key, stored, sessions))


def _opened(session_id: SessionId, key: Key, stored: Stored, sessions: Sessions) -> Flow[Loaded]:
    now_s = sessions.now_s()  # after the first answer, which may tell how late it is for the store
    judgement = decide.judge(stored, now_s, sessions.policy)
    if judgement.follow is not None:
        successor = decide.judge((yield from ask(Load(judgement.follow))), now_s, sessions.policy)
        if decide.may_follow(successor, now_s, sessions.policy):
            return Loaded(Verdict.FOUND, judgement.follow, successor.record, is_renewed=True)
    if judgement.verdict is Verdict.FOUND:
        return Loaded(Verdict.FOUND, key, judgement.record)
    reason = judgement.reason
    if reason is None:
        facts = yield from ask(ReadFacts(now_s, key))
        reason = decide.why_absent(session_id, facts, now_s, sessions.policy)
    sessions.events.found_dead(reason, sessions.ring.reference(key))
    return Loaded(Verdict.ABSENT, key, reason=reason, is_straggler=judgement.is_straggler)
