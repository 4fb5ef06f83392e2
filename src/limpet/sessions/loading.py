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
        _compare(loaded, session.client.floor, sessions)
    session.take(loaded)


def _compare(loaded: Loaded, floor: int, sessions: Sessions) -> None:
    # Served all the same: to log the user out would be worse than what the store has lost.
    record, key = loaded.record, loaded.key
    if record is not None and key is not None and record.version < floor and not loaded.is_adopted:
        sessions.events.fell_behind(sessions.ring.reference(key), record.version, floor)


def _load_any(session: Session, sessions: Sessions) -> Flow[Loaded]:
    session_id = session.session_id
    own = (yield from _load(session_id, sessions)) if session_id is not None else Loaded(Verdict.ABSENT)
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
        if judgement.record is not None and record.version >= session.client.floor:
            return Loaded(Verdict.FOUND, key, record, failure=error)
    return Loaded(Verdict.UNKNOWN, failure=error)


def _load(session_id: SessionId, sessions: Sessions) -> Flow[Loaded]:
    key = session_id.key
    return (yield from _opened(session_id, key, (yield from ask(Load(key))), sessions))


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
