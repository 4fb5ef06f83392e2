"""How much a client may ask without wanting anything: frames that cost work and bring no response.

Resets of streams just opened (CVE-2023-44487), floods of PING, SETTINGS, PRIORITY, empty DATA
(CVE-2019-9512, 9513, 9515, 9518) are all legal one by one. A browser sends a few of each; who
sends more than its requests explain is told ENHANCE_YOUR_CALM. Source: RFC 9113 section 10.5.
"""

from __future__ import annotations

_WINDOW_S = 10.0
#: Of one window, and one more for each request in it that is answered. Resets: three times as many as
#: there may be streams at a time, for maps and galleries that are left before they are there.
_MAX_RESETS = 300
_MAX_OTHERS = 500


class Nuisance:
    """Counts the frames of one connection that want nothing."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._resets = 0
        self._others = 0
        self._answers = 0

    def answered(self) -> None:
        """Note a response that a client has waited for."""
        self._answers += 1

    def reset(self, now_s: float) -> bool:
        """Note a stream that was reset; whether that is too many."""
        self._turn(now_s)
        self._resets += 1
        return self._resets > _MAX_RESETS + self._answers

    def other(self, now_s: float) -> bool:
        """Note another such frame; whether that is too many."""
        self._turn(now_s)
        self._others += 1
        return self._others > _MAX_OTHERS + self._answers

    def _turn(self, now_s: float) -> None:
        if now_s - self._began_s > _WINDOW_S:
            self._began_s = now_s
            self._resets = self._others = self._answers = 0
