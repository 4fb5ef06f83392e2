"""Connections of each client, counted in tables of fixed size.

Theory of operation. Each process writes a table of its own and reads those of all. A client has one of
a few places in it, for as long as it has connections there. If others have all of these places, which
takes tens of thousands of clients, its connections are not counted: a limit must not turn away
whoever comes late.

    for each place: the client's number (0: free), and how many connections it has
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

_PLACES = 65536
#: Places among which a client is looked for.
_WAYS = 8
_SET_NUMBERS = 2 * _WAYS
_SETS = _PLACES // _WAYS
#: Numbers in a table.
NUMBERS = 2 * _PLACES
_FREE = 0


class ConnectionCounts:
    """How many connections each client has.

    Args:
        tables: one for each process, of `NUMBERS` signed 64-bit numbers, all 0 at first.
        own: the number of this process's table.
    """

    def __init__(self, tables: Sequence[MutableSequence[int] | memoryview[int]], own: int) -> None:
        self._tables = tables
        self._own = tables[own]

    def enter(self, client: int, most: int) -> bool:
        """Count a connection; False, and it is not counted, if its client has `most` already.

        Args:
            client: its number, not 0.
        """
        if sum(_count(table, client) for table in self._tables) >= most:
            return False
        own = self._own
        at = _find(own, client, client)
        if at < 0:
            at = _find(own, client, _FREE)
        if at >= 0:
            own[at + 1] += 1
            own[at] = client
        return True

    def leave(self, client: int) -> None:
        """Count the end of a connection."""
        own = self._own
        at = _find(own, client, client)
        if at >= 0:
            own[at + 1] -= 1
            if not own[at + 1]:
                own[at] = _FREE


def _find(table: MutableSequence[int] | memoryview[int], client: int, what: int) -> int:
    # The place of `client`, or a free one where it may stand; -1 if there is none.
    first = client % _SETS * _SET_NUMBERS
    for at in range(first, first + _SET_NUMBERS, 2):
        if table[at] == what:
            return at
    return -1


def _count(table: MutableSequence[int] | memoryview[int], client: int) -> int:
    at = _find(table, client, client)
    return table[at + 1] if at >= 0 else 0
