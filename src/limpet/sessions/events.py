"""Ends of sessions, counted and logged: every logout has a reason.

A log line names a session by its keyed reference (`limpet sessions list` shows the same), never
by its id. A look at a cookie that counts for nothing is counted too, for a rise of `bad_signature` or
`unknown_key` means that servers do not share their secrets.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.sessions.record import EndReason, Outcome

LOG = logging.getLogger("limpet.sessions")


class Events:
    """Counters of one process.

    Attributes:
        ends: by reason. One session can be counted several times: each request with a dead cookie
            meets its end again.
        commits: by outcome.
        unknown: loads and commits that the store did not answer.
    """

    def __init__(self) -> None:
        self.ends: Counter[EndReason] = Counter()
        self.commits: Counter[Outcome] = Counter()
        self.unknown = 0

    def ended(self, reason: EndReason, reference: str) -> None:
        """Count and log an end; reference is "" for a cookie that is not ours."""
        self.ends[reason] += 1
        LOG.info("session %s: %s", reference or "-", reason.value)

    def committed(self, outcome: Outcome) -> None:
        """Count a commit."""
        self.commits[outcome] += 1

    def failed(self, detail: str) -> None:
        """Count and log a store that did not answer."""
        self.unknown += 1
        LOG.warning("session store: %s", detail)
