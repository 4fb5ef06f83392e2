"""Ends of sessions, counted and logged: every logout has a reason.

A log line names a session by its keyed reference (`limpet sessions list` shows the same), never
by its id.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from limpet.sessions.record import EndReason

if TYPE_CHECKING:
    from limpet.sessions.errors import StoreUnavailableError
    from limpet.sessions.record import Outcome
    from limpet.sessions.stores import Finding

LOG = logging.getLogger("limpet.sessions")
#: Reasons that users did not cause: the store lost data, or servers do not share their secrets.
_ALARMING = {EndReason.LOST, EndReason.UNKNOWN_KEY}
#: Sessions that were told to be behind.
_MAX_REMEMBERED = 10_000
_ADVICE = {
    EndReason.UNKNOWN_KEY: " (signed with a secret that is not here; is it the same on all servers?)",
    EndReason.LOST: " (the store has lost it, or is another one)",
}


class Events:
    """Counters of one process.

    Attributes:
        ends: sessions that this process ended, by reason.
        met: requests whose cookie opens nothing (any more), by reason; one dead cookie can be met
            often. A rise of LOST means that users were logged out by the store.
        commits: by outcome.
        adoptions: sessions of other libraries that went on as limpet sessions, by source.
        unknown: loads and commits that the store did not answer.
        near: loads by what a near-cache did: "hits", "misses", "bypasses" (the request may write, or its
            client has seen a newer version); and "voids" of all that it had.
        behind: sessions of which the store's primary had an older version than their client has seen, so
            that writes were lost, mostly in a failover; each is counted once.
    """

    def __init__(self) -> None:
        self._has_told_clear = False
        self.ends: Counter[EndReason] = Counter()
        self.met: Counter[EndReason] = Counter()
        self.commits: Counter[Outcome] = Counter()
        self.adoptions: Counter[str] = Counter()
        self.unknown = 0
        self.near: Counter[str] = Counter()
        self.behind = 0
        self._behind: OrderedDict[str, None] = OrderedDict()
        self._left_out: set[tuple[str, str]] = set()
        self._lock = threading.Lock()  # adding 1 to a counter is several steps

    def ended(self, reason: EndReason, reference: str) -> None:
        """Count and log the end of a session, or of all sessions of a user."""
        with self._lock:
            self.ends[reason] += 1
        LOG.info("session %s ends: %s", reference, reason.value)

    def found_dead(self, reason: EndReason, reference: str) -> None:
        """Count and log a cookie that opens nothing.

        Args:
            reference: of the session; of a cookie that is not ours a keyed hash.
        """
        with self._lock:
            self.met[reason] += 1
        level = logging.WARNING if reason in _ALARMING else logging.INFO
        LOG.log(level, "session %s opens nothing: %s%s", reference, reason.value, _ADVICE.get(reason, ""))

    def committed(self, outcome: Outcome) -> None:
        """Count a commit."""
        with self._lock:
            self.commits[outcome] += 1

    def near_cache(self, what: str) -> None:
        """Count what a near-cache did."""
        with self._lock:
            self.near[what] += 1

    def adopted(self, source: str, reference: str) -> None:
        """Count and log a session of another library that goes on as a limpet session."""
        with self._lock:
            self.adoptions[source] += 1
        LOG.info("session %s is adopted from %s", reference, source)

    def left_out(self, source: str, name: str, error: Exception) -> None:
        """Log, once for each name, a field that an adopted session goes on without."""
        if (source, name) not in self._left_out:
            self._left_out.add((source, name))
            LOG.warning("sessions from %s are adopted without their field %s: %s", source, name, error)

    def fell_behind(self, reference: str, version: int, floor: int) -> None:
        """Count and log, once, a session that the store has only in an older version."""
        with self._lock:
            if reference in self._behind:
                return
            self.behind += 1
            self._behind[reference] = None
            if len(self._behind) > _MAX_REMEMBERED:
                self._behind.popitem(last=False)
        LOG.warning(
            "session %s is behind: its client has seen version %d, the store has %d; writes were lost "
            "(a failover?)",
            reference,
            floor,
            version,
        )

    def sent_in_clear(self) -> None:
        """Tell once that browsers will not send the cookie back: it is Secure, and the request was not."""
        if not self._has_told_clear:
            self._has_told_clear = True
            LOG.warning(
                "the session cookie is Secure, but a request came by http: its client will not send it back; "
                "set LIMPET_SESSION_SECURE=0 for development, or let this server know of the TLS in front of "
                "it (X-Forwarded-Proto)"
            )

    def failed(self, error: StoreUnavailableError) -> None:
        """Count a store that did not answer, and log it if it is news."""
        with self._lock:
            self.unknown += 1
        if error.is_news:
            LOG.warning("session store: %s", error)

    def found(self, finding: Finding) -> None:
        """Log what is wrong with the store."""
        level = logging.ERROR if finding.severity == "error" else logging.WARNING
        LOG.log(level, "session store: %s %s; %s", finding.id, finding.what, finding.fix)

    def changed_late(self, names: list[str]) -> None:
        """Log changes inside of values that came after the response had begun."""
        what = ", ".join(map(repr, names))
        LOG.error("session fields changed after the response had begun, and are not saved: %s", what)
