"""The sessions that a target group has seen lately: where each is at home, and what is known of it.

Kept by the ids of sealed tickets, which only limpet can make, so a robot that never returns its
cookie counts for nothing. The table is bounded; when it is full the longest unseen go first. What
is forgotten with a session is learned again from its next response: until then it stays where it is.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from math import exp
from typing import TYPE_CHECKING, NamedTuple

from limpet.core.session_state import NO_FLOOR, NO_FLOOR_LINE, Floor, floor_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from limpet.core.session_state import SessionState
    from limpet.core.target import TargetState

#: Sessions remembered per target group.
MAX_SESSIONS = 100_000

#: A session's requests within this time are noted together; it saves most of the book-keeping.
PRECISION_S = 1.0
#: How fast a session's rate forgets.
RATE_S = 30.0
#: Why a session with an open WebSocket, or another tunnel, is pinned.
TUNNEL = "websocket"


class ActiveSession:
    """One session, as far as this process has seen it.

    Attributes:
        key: of the session; see `Finding.session_key`.
        target: where it is at home.
        epoch: grows with each change of home; a ticket of an earlier one is out of date.
        seen_s: monotonic; when a request was noted last, to `PRECISION_S`.
        requests: since then.
        in_flight: requests that are not answered yet.
        tunnels: WebSockets and the like that are open.
        state: what its last response said of it; None if none has said anything.
        floor: what a target must have read at least; `floor_line` tells it that.
        is_in: somebody is logged in, as far as anything has told; see `logouts`.
    """

    __slots__ = (
        "_rate",
        "_tagged_s",
        "epoch",
        "floor",
        "floor_line",
        "in_flight",
        "is_in",
        "key",
        "requests",
        "seen_s",
        "state",
        "target",
        "tunnels",
    )

    def __init__(self, key: bytes, target: TargetState, mono_s: float) -> None:
        self.key = key
        self.target = target
        self.epoch = 0
        self.seen_s = mono_s
        self.requests = 0
        self.in_flight = 0
        self.tunnels = 0
        self.state: SessionState | None = None
        self.floor = NO_FLOOR
        self.floor_line = NO_FLOOR_LINE
        self.is_in = False
        self._rate = 0.0
        self._tagged_s = 0.0  # monotonic; since when the floor is of this id

    @property
    def is_portable(self) -> bool:
        """Whether its last response said that any target can serve it."""
        return self.state is not None and self.state.is_portable and not self.tunnels

    @property
    def why_pinned(self) -> str:
        """Why it has to stay where it is; "" if it is portable."""
        if self.state is None:
            return "unknown"
        if not self.state.is_portable:
            return self.state.why or "unknown"
        return TUNNEL if self.tunnels else ""

    def begin(self) -> None:
        """Note a request that is in flight from now on."""
        self.requests += 1
        self.in_flight += 1

    def rate(self, mono_s: float) -> float:
        """Return its requests per second, lately."""
        return self._decayed(mono_s) + self.requests / RATE_S

    def note(self, mono_s: float) -> None:
        """Take the requests since the last time into the rate."""
        self._rate = self.rate(mono_s)
        self.requests = 0
        self.seen_s = mono_s

    def take(self, state: SessionState, began_s: float, mono_s: float) -> None:
        """Note what a response said.

        Args:
            began_s: monotonic; when its request came.
            mono_s: now.
        """
        if state.why == TUNNEL and self.state is not None:
            return  # that holds for as long as it is open, and is counted here
        self.state = state
        if state.version is None:
            return
        if state.tag == self.floor.tag:
            self.raise_floor(Floor(state.version, state.tag))
        elif began_s >= self._tagged_s:  # or else it is of the id before a login, and late
            self.raise_floor(Floor(state.version, state.tag))
            self._tagged_s = mono_s

    def raise_floor(self, floor: Floor) -> None:
        """Note what its client may have seen; that of another session id replaces what was known."""
        known = self.floor
        if floor != known and (floor.tag != known.tag or floor.version > known.version):
            self.floor = floor
            self.floor_line = floor_line(floor)

    def _decayed(self, mono_s: float) -> float:
        return self._rate * exp(-max(mono_s - self.seen_s, 0.0) / RATE_S)


class Residence(NamedTuple):
    """Where an active session is, for those who count them.

    Attributes:
        target_id: its home.
        why_pinned: "" if it could go elsewhere.
        idle_s: time since it was seen.
    """

    target_id: str
    why_pinned: str
    idle_s: float


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
        self._seen: OrderedDict[bytes, ActiveSession] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered, those included that nobody has asked for lately."""
        return len(self._seen)

    def get(self, key: bytes) -> ActiveSession | None:
        """Return what is known of a session."""
        return self._seen.get(key)

    def touch(self, key: bytes, target: TargetState, mono_s: float) -> ActiveSession:
        """Note a request of a session whose home is `target`, and return what is known of it."""
        session = self._seen.get(key)
        if session is None:
            return self._add(ActiveSession(key, target, mono_s))
        if session.target is not target or mono_s - session.seen_s >= PRECISION_S:
            session.note(mono_s)
            session.target = target
            self._seen.move_to_end(key)
        return session

    def keep(self, session: ActiveSession, mono_s: float) -> None:
        """Note a request of a session that may have been forgotten meanwhile."""
        session.note(mono_s)
        if self._seen.get(session.key) is session:
            self._seen.move_to_end(session.key)
        else:
            self._add(session)

    def counts(self, mono_s: float) -> dict[str, int]:
        """Return the number of active sessions by target id."""
        return count_targets(self.residences(mono_s).values())

    def residences(self, mono_s: float) -> dict[bytes, Residence]:
        """Return where the active sessions are, by their keys."""
        self._forget_unseen(mono_s)
        return {
            key: Residence(each.target.id, each.why_pinned, max(mono_s - each.seen_s, 0.0))
            for key, each in self._seen.items()
        }

    def _add(self, session: ActiveSession) -> ActiveSession:
        seen = self._seen
        seen[session.key] = session
        if len(seen) > self._max_sessions:
            self._forget_unseen(session.seen_s)
            if len(seen) > self._max_sessions:
                seen.popitem(last=False)
                self.is_truncated = True
        return session

    def _forget_unseen(self, mono_s: float) -> None:
        oldest_s = mono_s - self.window_s
        while self._seen:
            if next(iter(self._seen.values())).seen_s >= oldest_s:
                break
            self._seen.popitem(last=False)


def count_targets(residences: Iterable[Residence]) -> dict[str, int]:
    """Return the number of sessions by target id."""
    return dict(Counter(residence.target_id for residence in residences))


def join_residences(total: dict[bytes, Residence], more: Mapping[bytes, Residence]) -> None:
    """Add what another process has seen: of one session the later view counts, and an open tunnel."""
    for key, residence in more.items():
        known = total.get(key)
        if known is None:
            total[key] = residence
            continue
        later = min(known, residence, key=_idle_s)
        is_open = TUNNEL in {known.why_pinned, residence.why_pinned}
        total[key] = later._replace(why_pinned=TUNNEL) if is_open else later


def _idle_s(residence: Residence) -> float:
    return residence.idle_s
