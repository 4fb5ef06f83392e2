"""Token buckets, one for each client, in a table of fixed size.

Theory of operation. A bucket is one number: when it will be full again (the generic cell rate
algorithm). A full bucket says nothing, so it needs no place. A client's bucket has one of a few
places in the table; if others stand in all of them, the one that is full soonest is forgotten, which
gives whoever it was at most one burst more. Several processes may share the table: a number is 8
aligned bytes, and of two requests in the same microsecond one may go uncounted.

    for each place: the client's number, and when its bucket is full (monotonic microseconds)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence

_PLACES = 65536
#: Places among which a client's bucket is looked for.
_WAYS = 4
_SET_NUMBERS = 2 * _WAYS
_SETS = _PLACES // _WAYS
#: Numbers in a table.
NUMBERS = 2 * _PLACES


class Buckets:
    """The buckets of all clients.

    Args:
        table: of `NUMBERS` signed 64-bit numbers, all 0 at first.
    """

    def __init__(self, table: MutableSequence[int] | memoryview[int]) -> None:
        self._table = table

    def take(self, client: int, now_s: float, per_s: float, burst: int) -> bool:
        """Take a token for a request; False if there is none.

        Args:
            client: its number, not 0.
            now_s: monotonic.
            per_s: tokens that come back in a second.
            burst: that a full bucket holds.
        """
        table = self._table
        now_us = int(now_s * 1e6)
        interval_us = int(1e6 / per_s) or 1
        at = client % _SETS * _SET_NUMBERS
        if table[at] != client:
            at = self._find(client, at, now_us)
        full_us = max(table[at + 1], now_us)
        if full_us - now_us > (burst - 1) * interval_us:
            return False
        table[at + 1] = full_us + interval_us
        return True

    def _find(self, client: int, first: int, now_us: int) -> int:
        table = self._table
        soonest = first
        for at in range(first, first + _SET_NUMBERS, 2):
            if table[at] == client:
                return at
            if table[at + 1] < table[soonest + 1]:
                soonest = at
        table[soonest + 1] = now_us
        table[soonest] = client
        return soonest
