"""Sessions that this process has read lately; for reading while the store does not answer.

Only the policy `OnUnknown.STALE` fills it. What another server has changed or revoked since is
not seen, so nothing may be written on the strength of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.sessions.record import Key, Record

_SIZE = 10_000


class Recent:
    """The records that were read last, `size` of them at most.

    Args:
        stale_s: how old a copy may be; wall clock.
    """

    def __init__(self, stale_s: float, size: int = _SIZE) -> None:
        self._stale_s = stale_s
        self._size = size
        self._records: OrderedDict[Key, tuple[float, Key, Record]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, shown: Key, key: Key, record: Record, now_s: float) -> None:
        """Keep what was read.

        Args:
            shown: what the cookie says.
            key: where the record stands; after a renewal not where the cookie says.
        """
        with self._lock:
            self._records[shown] = (now_s, key, record)
            self._records.move_to_end(shown)
            if len(self._records) > self._size:
                self._records.popitem(last=False)

    def forget(self, shown: Key) -> None:
        """Drop a copy that this process has changed in the store."""
        with self._lock:
            self._records.pop(shown, None)

    def forget_all(self) -> None:
        """Drop every copy: this process has revoked sessions, whichever they are called here."""
        with self._lock:
            self._records.clear()

    def find(self, shown: Key, now_s: float) -> tuple[Key, Record] | None:
        """Return where a record stood, and the record, if the copy is young enough."""
        with self._lock:
            found = self._records.get(shown)
        if found is None or not 0 <= now_s - found[0] <= self._stale_s:
            return None
        return found[1], found[2]
