"""Operations on one key, for stores that read, decide and write back: pure.

Such a store reads what stands at the key, asks `transition` what should stand there, and writes
it only if nobody has written meanwhile (a lock, a WHERE clause, CAS); otherwise it begins again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from limpet.sessions.operations import Commit, Create, End, Stored
from limpet.sessions.record import apply

if TYPE_CHECKING:
    from limpet.sessions.record import Record, Tombstone

#: Operations that `transition` decides.
Change: TypeAlias = Create | Commit | End


def transition(operation: Change, before: Stored) -> tuple[Any, Record | Tombstone | None]:
    """Decide an operation.

    Args:
        before: what stands at the key, and the user's epoch (for Create: as it will be).

    Returns:
        The operation's answer, and what to write; None to write nothing.
    """
    if isinstance(operation, Commit):
        return apply(before.what, operation.edit, before.epoch)
    if isinstance(operation, End):
        return before, operation.tombstone if operation.is_about(before) else None
    if before.what is not None:
        return before, None
    record = replace(operation.record, epoch=before.epoch or b"")
    return Stored(record, before.epoch), record
