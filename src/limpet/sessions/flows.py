"""What happens between a session and its store at the end of a request, as flows: no I/O here.

`save` runs before the response's headers go out. What happens at the first access is in `loading`.
Written once; `Sessions` drives them with a sync or an async store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from limpet.sessions import decide
from limpet.sessions.decide import Act, CookieAct
from limpet.sessions.errors import SessionConflictError, StoreUnavailableError
from limpet.sessions.migration.adopt import end_old
from limpet.sessions.move import Move, Moved
from limpet.sessions.operations import EPOCH_BYTES, Commit, Create, End, Flow, Stored, ask
from limpet.sessions.policy import TOMBSTONE_S, store_until_s
from limpet.sessions.record import (
    TOKEN_BYTES,
    Change,
    Edit,
    EndReason,
    Field,
    Key,
    Meta,
    Outcome,
    Record,
    Tombstone,
    is_overtaken,
)
from limpet.sessions.request_state import NO_WISHES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limpet.sessions.fields import Unsaved
    from limpet.sessions.request_state import Loaded
    from limpet.sessions.service import Sessions
    from limpet.sessions.session import Session
    from limpet.sessions.session_id import SessionId

#: Tries for a field with a merge rule; each failure means that another request succeeded.
_MAX_TRIES = 64


class Saved(NamedTuple):
    """What the response must say.

    Attributes:
        cookie: KEEP, SET or CLEAR.
        session_id: with SET.
        max_age_s: with SET: whole seconds; None for a cookie that ends with the browser.
        is_overtaken: another request has ended the session, or given it another id, while this one
            ran; what it changed went to the session that follows, if one does.
    """

    cookie: CookieAct
    session_id: SessionId | None = None
    max_age_s: int | None = None
    is_overtaken: bool = False


_KEEP = Saved(CookieAct.KEEP)
_OVERTAKEN = Saved(CookieAct.KEEP, is_overtaken=True)


def save(session: Session, sessions: Sessions) -> Flow[Saved]:
    """Bring the store up to date with what the request did.

    Raises:
        StoreUnavailableError: nobody knows whether it was saved; answer 503, set no cookie.
        UnsupportedValueError: a field holds a value that cannot be stored.
        SessionConflictError: a merge rule gave up.
    """
    loaded = session.loaded if session.accessed else None
    if loaded is None:
        return _KEEP
    unsaved = session.fields.unsaved()
    has_wishes = bool(unsaved) or session.wishes != NO_WISHES
    if loaded.failure is not None:
        if has_wishes:
            raise loaded.failure
        return _KEEP
    now_s = sessions.now_s()
    if not has_wishes and _is_settled(session, sessions, loaded, now_s):
        return _KEEP
    try:
        return (yield from _Save(session, sessions, loaded, unsaved, now_s).run())
    except StoreUnavailableError as error:
        sessions.events.failed(error)
        session.standing.is_silent = True
        raise
    finally:  # not before, for a request beside this one might read it again meanwhile
        if session.session_id is not None and sessions.recent is not None and has_wishes:
            sessions.recent.forget(session.session_id.key)


def _is_settled(session: Session, sessions: Sessions, loaded: Loaded, now_s: float) -> bool:
    # Whether there is nothing to do for a session that was only read: what most requests do. It is what
    # a plan would say, and takes a tenth of the time.
    record, session_id = loaded.record, session.session_id
    if record is None:
        return True  # there is no session, and nobody has begun one
    if session_id is None or session.offers or loaded.is_renewed or loaded.is_adopted:
        return False
    if record.meta.confirmed_s == 0 or decide.is_touch_due(record, now_s):
        return False
    return not decide.is_renewal_due(session_id, now_s, sessions.policy)


def end_here(session: Session, sessions: Sessions) -> Flow[Saved]:
    """End a session under the id that the request came with, not where it may have moved since.

    For a framework that found a session invalid, which is no logout: another request may have made
    it valid again under a new id.

    Raises:
        StoreUnavailableError: nobody knows whether it was ended.
    """
    yield from end_old(session.shown)
    loaded = session.loaded
    if loaded is None or loaded.record is None or loaded.key is None:
        is_overtaken = loaded is not None and loaded.is_straggler
        return _OVERTAKEN if is_overtaken else Saved(CookieAct.CLEAR)
    before = yield from _Save(session, sessions, loaded, [], sessions.now_s()).bury(
        loaded.key, EndReason.LOGOUT
    )
    session.standing.gone(EndReason.LOGOUT)
    return Saved(CookieAct.CLEAR) if before.alive is not None else _OVERTAKEN


@dataclass(slots=True)
class _Save:
    session: Session
    sessions: Sessions
    loaded: Loaded
    unsaved: list[Unsaved]
    now_s: float

    def run(self) -> Flow[Saved]:
        saved = _KEEP
        if self.session.leaves_old:
            yield from end_old(self.session.shown)
        for act in self._plan():
            saved = yield from self._steps()[act]()
        if self.session.wishes.logs_out and saved is _KEEP and self.session.session_id is not None:
            return Saved(CookieAct.CLEAR)
        return saved

    def _steps(self) -> dict[Act, Callable[[], Flow[Saved]]]:
        return {
            Act.CREATE: self._create,
            Act.COMMIT: self._commit,
            Act.END: self._end,
            Act.REPLACE: self._replace,
            Act.RENEW: self._renew,
        }

    def _plan(self) -> tuple[Act, ...]:
        wishes, session_id, record = self.session.wishes, self.session.session_id, self.loaded.record
        may_differ = record is not None and (
            wishes != NO_WISHES or record.meta.confirmed_s == 0 or bool(self.session.offers)
        )
        is_new_meta = may_differ and self._next_meta() != self._old().meta
        may_begin = record is None or wishes.logs_out  # only then anybody asks what there would be to store
        return decide.plan_save(
            has_record=record is not None,
            logs_out=wishes.logs_out,
            logs_in=wishes.user is not None,
            rotates=wishes.rotates,
            has_content=may_begin and (len(self.session.fields) > 0 or wishes.creates),
            # An old id needs its new cookie, and a commit tells whether the session still lives.
            has_changes=bool(self.unsaved) or is_new_meta or self.loaded.is_renewed or self.loaded.is_adopted,
            touch_due=record is not None and decide.is_touch_due(record, self.now_s),
            renewal_due=session_id is not None
            and not self.loaded.is_renewed
            and decide.is_renewal_due(session_id, self.now_s, self.sessions.policy),
            is_straggler=self.loaded.is_straggler,
        )

    def _next_meta(self) -> Meta:
        # A client has shown the new id of a renewal, so the old one's grace begins.
        meta = self.session.next_meta(self.now_s)
        is_confirmed = meta.confirmed_s > 0 or self.loaded.is_renewed
        return meta if is_confirmed else meta._replace(confirmed_s=self.now_s)

    # A new record.

    def _create(self) -> Flow[Saved]:
        meta = self.session.next_meta(self.now_s)
        session_id = self._new_id(meta)
        record = Record(1, b"", self.now_s, meta, self._own_fields(1))
        seed = self.sessions.entropy(EPOCH_BYTES)
        yield from ask(Create(session_id.key, record, store_until_s(meta, self.now_s), seed))
        self.session.standing.written(1, session_id.key, has_user=bool(meta.user))
        return self._cookie(session_id, meta)

    def _replace(self) -> Flow[Saved]:
        meta, old = self.session.next_meta(self.now_s), self._old()
        session_id, version = self._new_id(meta), old.version + 1
        record = Record(version, b"", self.now_s, meta, self._own_fields(version), old.tokens)
        grace_end_s = self.now_s + self.sessions.policy.grace_s
        stone = Tombstone(EndReason.ROTATED, self.now_s, session_id.key, grace_end_s)
        contents = self._with_own if meta.incarnation == old.meta.incarnation else None
        moved = yield from self._move(stone, grace_end_s, contents, self._replaced).run(old, record)
        if moved is Moved.AWAY and self.session.wishes.user is None:
            # Someone was faster: what is over stays over; what moved on takes this request's fields.
            return (yield from self._give_way(session_id.key))
        self.session.standing.written(version, session_id.key, has_user=bool(meta.user))
        if moved is Moved.SHARED and (yield from self._commit_to(session_id.key, [], None)) != session_id.key:
            return _OVERTAKEN
        return self._cookie(session_id, meta)

    def _renew(self) -> Flow[Saved]:
        old = self._old()
        meta = self.session.next_meta(self.now_s)._replace(confirmed_s=0.0)
        session_id = self._successor_id(self.sessions.user_key(meta.user), meta)
        copy = Record(old.version, b"", self.now_s, meta, old.fields, old.tokens)
        stone = Tombstone(EndReason.RENEWED, self.now_s, session_id.key, meta.ends_s)
        moved = yield from self._move(stone, meta.ends_s, dict, lambda _: None).run(old, copy)
        if moved is Moved.AWAY:
            return (yield from self._give_way(session_id.key))
        self.session.standing.written(copy.version, session_id.key)
        if self.unsaved or moved is Moved.SHARED:
            # If another request has renewed it first, a third one may have moved or ended it since.
            landed = yield from self._commit_to(session_id.key, self.unsaved, None)
            if landed != session_id.key:
                return _OVERTAKEN
        return self._cookie(session_id, meta)

    def _replaced(self, before: Stored) -> Key | None:
        # A login takes the place of the session wherever that went, a rotation that of a renewed one: else
        # the old id would still open it.
        was_renewed = isinstance(before.what, Tombstone) and before.what.reason is EndReason.RENEWED
        return self._same_login(before) if was_renewed or self.session.wishes.user is not None else None

    def _move(
        self,
        stone: Tombstone,
        until_s: float,
        contents: Callable[[Mapping[str, Field]], Mapping[str, Field]] | None,
        follow: Callable[[Stored], Key | None],
    ) -> Move:
        assert stone.successor is not None  # noqa: S101  # where it moves
        until_s = max(self.now_s + TOMBSTONE_S, until_s, self._old().meta.old_ends_s)
        return Move(self.sessions, self._old_key(), stone.successor, stone, until_s, contents, follow)

    def _give_way(self, key: Key) -> Flow[Saved]:
        yield from self.bury(key, EndReason.ROTATED)
        if self.unsaved:
            yield from self._commit_to(self._old_key(), self.unsaved, None)
        return _OVERTAKEN

    # The record that is there.

    def _commit(self) -> Flow[Saved]:
        meta, old_meta = self._next_meta(), self._old().meta
        key = self._old_key()
        landed = yield from self._commit_to(key, self.unsaved, meta if meta != old_meta else None)
        if landed != key:
            return _OVERTAKEN
        if self.loaded.is_renewed:
            return self._healed(meta)
        if self.loaded.is_adopted:
            return self._cookie(self._old_id(), meta)
        if (meta.ends_s, meta.is_persistent) != (old_meta.ends_s, old_meta.is_persistent):
            return self._cookie(self.sessions.ring.extended(self._old_id(), meta.ends_s), meta)
        return _KEEP

    def _commit_to(self, key: Key, unsaved: list[Unsaved], meta: Meta | None) -> Flow[Key | None]:
        # Returns where the changes ended up; None if the session is gone.
        token = self.sessions.entropy(TOKEN_BYTES)
        for _ in range(_MAX_TRIES):
            changes = tuple(each.change for each in unsaved)
            committed = yield from ask(self._commit_operation(key, changes, meta, token))
            self.sessions.events.committed(committed.outcome)
            successor = self._successor(committed.tombstone)
            if committed.record is not None:
                unsaved = self._merged(unsaved, committed.record.fields)
            elif successor is not None:
                # The id was changed while this request ran: its fields go where the session went;
                # lifetimes stay with the request that changed the id.
                key, meta = successor, None
                unsaved = _giving_way(unsaved, committed.tombstone)
            elif committed.outcome is Outcome.GONE:
                stone = committed.tombstone
                self.session.standing.gone(stone.reason if stone is not None else None)
                return None
            else:
                self.session.standing.written(committed.version, key)
                return key
        raise SessionConflictError("other requests kept changing the same session field")

    def _merged(self, unsaved: list[Unsaved], current: Mapping[str, Field]) -> list[Unsaved]:
        # As the fields' rules want it; a strict change without a rule is given up.
        merged = [self._rebased(self.session.fields.merged(each, current), current) for each in unsaved]
        return [each for each in merged if each.merge or not is_overtaken(each.change, current)]

    def _rebased(self, unsaved: Unsaved, current: Mapping[str, Field]) -> Unsaved:
        # A field that holds what was read has not been changed, though a rotation may have numbered it anew.
        name = unsaved.change.name
        read, now = self._old().fields.get(name), current.get(name)
        if read is None or now is None or read.data != now.data:
            return unsaved
        return unsaved._replace(change=unsaved.change._replace(base=now.version))

    def _commit_operation(
        self, key: Key, changes: tuple[Change, ...], meta: Meta | None, token: bytes
    ) -> Commit:
        base = self._old()
        edit = Edit(
            incarnation=base.meta.incarnation,
            base_version=base.version,
            changes=changes,
            seen_s=self.now_s,
            meta=meta,
            token=token,
        )
        return Commit(key, edit, store_until_s(meta or base.meta, self.now_s))

    def _successor(self, stone: Tombstone | None) -> Key | None:
        return stone.successor if stone is not None and self.now_s < stone.until_s else None

    # The end.

    def _end(self) -> Flow[Saved]:
        key = self.loaded.key
        while key is not None:
            before = yield from self.bury(key, EndReason.LOGOUT)
            key = self._same_login(before)
        self.session.standing.gone(EndReason.LOGOUT)
        return _KEEP

    def _same_login(self, before: Stored) -> Key | None:
        # Where the login that is to end went on meanwhile, if it did: under one of its user's keys,
        # or as the same visitor.
        successor = before.what.successor if isinstance(before.what, Tombstone) else None
        record = self.loaded.record
        users = [self.loaded.key.user] if self.loaded.key is not None else []
        if record is not None and record.meta.user:
            users = self.sessions.ring.user_keys(record.meta.user)
        return successor if successor is not None and successor.user in users else None

    def bury(
        self, key: Key, reason: EndReason, successor: Key | None = None, until_s: float = 0.0
    ) -> Flow[Stored]:
        stone = Tombstone(reason, self.now_s, successor, until_s)
        record = self.loaded.record
        old_ends_s = record.meta.old_ends_s if record is not None else 0.0
        until_s = max(self.now_s + TOMBSTONE_S, until_s, old_ends_s)
        before = yield from ask(End(key, stone, until_s))
        if before.alive is not None:
            self.sessions.events.ended(reason, self.sessions.ring.reference(key))
        return before

    # Ids and cookies.

    def _new_id(self, meta: Meta) -> SessionId:
        sessions, user_key = self.sessions, self.sessions.user_key(meta.user)
        return sessions.ring.new_id(
            user_key=user_key, issued_s=self.now_s, ends_s=meta.ends_s, entropy=sessions.entropy
        )

    def _successor_id(self, user_key: str, meta: Meta) -> SessionId:
        ring, old_id = self.sessions.ring, self._old_id()
        return ring.successor(old_id, user_key=user_key, issued_s=self.now_s, ends_s=meta.ends_s)

    def _healed(self, meta: Meta) -> Saved:
        # The client missed the new cookie: here it is again, if our newest secret is the one that
        # made it.
        session_id = self._successor_id(self._old_key().user, meta)
        return self._cookie(session_id, meta) if session_id.key == self._old_key() else _KEEP

    def _cookie(self, session_id: SessionId, meta: Meta) -> Saved:
        max_age_s = math.ceil(meta.ends_s - self.now_s) if meta.is_persistent else None
        self.session.standing.key = session_id.key
        return Saved(CookieAct.SET, session_id, max_age_s)

    def _own_fields(self, version: int) -> dict[str, Field]:
        return self._changed_fields(self.session.fields.stored, version)

    def _with_own(self, theirs: Mapping[str, Field]) -> dict[str, Field]:
        return self._changed_fields(theirs, 0)

    def _changed_fields(self, theirs: Mapping[str, Field], version: int) -> dict[str, Field]:
        fields = dict(theirs)
        for each in self.unsaved:
            change = self.session.fields.merged(each, theirs).change
            if change.data is None:
                fields.pop(change.name, None)
            else:
                fields[change.name] = Field(version, change.data)
        return fields

    def _old(self) -> Record:
        assert self.loaded.record is not None  # noqa: S101  # a plan without a record does not come here
        return self.loaded.record

    def _old_key(self) -> Key:
        assert self.loaded.key is not None  # noqa: S101  # a record has a place
        return self.loaded.key

    def _old_id(self) -> SessionId:
        assert self.session.session_id is not None  # noqa: S101  # a record was found by its id
        return self.session.session_id


def _giving_way(unsaved: list[Unsaved], stone: Tombstone | None) -> list[Unsaved]:
    # What a login or a change of privilege has written is not overwritten by a request from before it, which
    # somebody else may have sent: a token against forgery, for example.
    if stone is None or stone.reason is not EndReason.ROTATED:
        return unsaved
    return [each._replace(change=each.change._replace(is_strict=True)) for each in unsaved]
