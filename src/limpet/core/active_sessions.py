"""How many sessions each target serves: those whose pin was seen a short while ago.

Kept by the ids of sealed tickets, which only limpet can make, so a robot that never returns its
cookie counts for nothing. The table is bounded; when it is full the longest unseen go first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Sessions remembered per target group.
MAX_SESSIONS = 100_000

#: A session's requests within this time count as one; it saves most of the book-keeping.
_PRECISION_S = 1.0


class ActiveSessions:
    """Sessions of one target group by their keys.

    Args:
        window_s: a session counts for so long after its last request.

    Attributes:
        is_truncated: the table was full at some time, so counts are too low.
    """

    def __init__(self, window_s: float, max_sessions: int = MAX_SESSIONS) -> None:
        self.window_s = window_s
        self.is_truncated = False
        self._max_sessions = max_sessions
        # In the order of their last request. Taking the oldest out of a plain dict again and again
        # would search through the places of those taken before.
        self._seen: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def touch(self, key: bytes, target_id: str, mono_s: float) -> None:
        """Note a request of a session."""
        seen = self._seen
        before = seen.get(key)
        if before is not None:
            if mono_s - before[1] < _PRECISION_S and before[0] == target_id:
                return
            seen.move_to_end(key)
        seen[key] = (target_id, mono_s)
        if len(seen) > self._max_sessions:
            self._forget_unseen(mono_s)
            if len(seen) > self._max_sessions:
                seen.popitem(last=False)
                self.is_truncated = True

    def counts(self, mono_s: float) -> dict[str, int]:
        """Return the number of active sessions by target id."""
        return count_targets(self.targets(mono_s))

    def targets(self, mono_s: float) -> dict[bytes, str]:
        """Return the target ids of the active sessions by their keys."""
        self._forget_unseen(mono_s)
        return {key: target_id for key, (target_id, _) in self._seen.items()}

    def _forget_unseen(self, mono_s: float) -> None:
        oldest_s = mono_s - self.window_s
        while self._seen:
            if next(iter(self._seen.values()))[1] >= oldest_s:
                break
            self._seen.popitem(last=False)


def count_targets(targets: Mapping[bytes, str]) -> dict[str, int]:
    """Return the number of sessions by target id, of target ids by session."""
    return dict(Counter(targets.values()))
