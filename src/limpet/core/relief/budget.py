"""How many sessions may get another home: a bucket that fills with time."""

from __future__ import annotations

#: The bucket holds what comes in within this time, and one move at least.
_BURST_S = 5.0


class Budget:
    """Moves that may be made now."""

    def __init__(self) -> None:
        self._moves = 1.0
        self._at_s: float | None = None

    def fill(self, moves_per_s: float, now_s: float) -> None:
        """Let time pass.

        Args:
            now_s: monotonic.
        """
        if self._at_s is not None:
            gained = moves_per_s * max(now_s - self._at_s, 0.0)
            self._moves = min(self._moves + gained, max(moves_per_s * _BURST_S, 1.0))
        self._at_s = now_s

    def spend(self) -> bool:
        """Take one move out; False if there is none."""
        if self._moves < 1.0:
            return False
        self._moves -= 1.0
        return True
