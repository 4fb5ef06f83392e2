"""Moving a session to another id without losing anybody's write: flows, no I/O.

The new record is written first. Then the old one is ended at exactly the version whose fields the
new one holds; if someone has written to the old one since, the new one catches up and the end is
tried again. So whoever finds the tombstone finds everything where it leads, and an answer that is
lost, or a process that dies, leaves a session that still works.

Several requests may renew a session at the same time, and write the same new record. Therefore
catching up is exclusive, and comes after a look at the old record, which comes after a look at the
new one: whoever is late finds another version, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from limpet.sessions.errors import SessionConflictError
from limpet.sessions.operations import EPOCH_BYTES, Commit, Create, End, Flow, Load, ReadFacts, Stored, ask
from limpet.sessions.policy import store_until_s
from limpet.sessions.record import TOKEN_BYTES, Edit, Outcome, Tombstone, changed, differences, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limpet.sessions.record import Field, Key, Record
    from limpet.sessions.service import Sessions

#: Tries to end the old record; each failure means that another request has written to it.
_MAX_TRIES = 64


class Moved(Enum):
    """How a move ended.

    SHARED: another request moved the session to the same key, or an answer to us was lost: it may be in
    use there, or have moved on. AWAY: it ended or moved elsewhere before, and what was written at the new
    key must not live, unless a login wants it.
    """

    MOVED = "moved"
    SHARED = "shared"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Move:
    """A session's way from one key to another.

    Attributes:
        stone: is left at the old key until `until_s`.
        contents: what the new record's fields are to be, made from those of the old one; None if nothing is
            taken along.
        follow: where the session went on, if it is to be fetched from there.
    """

    sessions: Sessions
    old_key: Key
    key: Key
    stone: Tombstone
    until_s: float
    contents: Callable[[Mapping[str, Field]], Mapping[str, Field]] | None
    follow: Callable[[Stored], Key | None]

    def run(self, old: Record, copy: Record) -> Flow[Moved]:
        """Move it.

        Args:
            old: the old record as it was read.
            copy: the new record as made from it.
        """
        until_s, seed = store_until_s(copy.meta, copy.seen_s), self.sessions.entropy(EPOCH_BYTES)
        stands = (yield from ask(Create(self.key, copy, until_s, seed))).alive
        if not self.key.user and (yield from self._is_revoked(old)):
            return Moved.AWAY
        old_key = self.old_key
        is_ours = holds = stands is not None and _is_same(stands, copy)
        for _ in range(_MAX_TRIES):
            is_final = stands is None or self.contents is None
            version = 0 if is_final else old.version
            end = End(old_key, self.stone, self.until_s, version)
            before = yield from ask(end if holds or is_final else Load(old_key))
            if (holds or is_final) and end.is_about(before):
                self.sessions.events.ended(self.stone.reason, self.sessions.ring.reference(old_key))
                return Moved.MOVED if is_ours else Moved.SHARED
            if before.alive is None:
                if self._leads_here(before.what):
                    return Moved.SHARED
                followed = self.follow(before)
                if followed is None:
                    return Moved.AWAY
                old_key, holds = followed, False
                continue
            assert stands is not None  # noqa: S101  # else the end would have been final
            old = before.alive
            stands, holds = yield from self._catch_up(stands, old)
        raise SessionConflictError("other requests kept changing a session that is to get another id")

    def _is_revoked(self, old: Record) -> Flow[bool]:
        # Users have an epoch. A visitor's record that is written while everyone's are being removed may
        # be written where the removal has been; but then everyone's end is known already.
        facts = yield from ask(ReadFacts(self.stone.at_s, self.key))
        return old.meta.created_s <= facts.everyone_s

    def _catch_up(self, stands: Record, old: Record) -> Flow[tuple[Record | None, bool]]:
        # Returns what stands there now, and whether it holds what the old record does.
        assert self.contents is not None  # noqa: S101  # else nothing is taken along
        unknown = [token for token in tokens_of(old) if token not in tokens_of(stands)]
        edit = Edit(
            incarnation=stands.meta.incarnation,
            base_version=stands.version,
            changes=differences(stands.fields, self.contents(old.fields)),
            seen_s=old.seen_s,
            meta=stands.meta,  # makes another version even if no field differs
            # A commit to the old record whose answer was lost is sent again, to the new one.
            token=b"".join(unknown) + self.sessions.entropy(TOKEN_BYTES),
            is_exclusive=True,
        )
        until_s = store_until_s(stands.meta, max(stands.seen_s, old.seen_s))
        committed = yield from ask(Commit(self.key, edit, until_s))
        if committed.outcome in {Outcome.CONFLICT, Outcome.GONE}:
            return committed.record, False
        return changed(stands, edit), True

    def _leads_here(self, stands: object) -> bool:
        return isinstance(stands, Tombstone) and stands.successor == self.key


def _is_same(stands: Record, copy: Record) -> bool:
    return (stands.meta.incarnation, stands.version, stands.fields) == (
        copy.meta.incarnation,
        copy.version,
        copy.fields,
    )
