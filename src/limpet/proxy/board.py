"""The whole machine's numbers: a small table in memory that all workers share.

Theory of operation. Each number has one writer, the worker in whose place it stands; everybody
reads, and adds up what it needs. A number is 8 aligned bytes, so nobody reads half of one, and no
lock is needed. What is decided with such sums may be off by what the other workers did in the
same microseconds: a limit of 100 may let 101 through, never 200.

    for each worker: one number for each of `FIELDS`
    two of which secret numbers are made
    for each slot (a target that the control process knows) and worker: requests in flight
    for each slot and worker: one number for each of `COUNTS`, brought up to date a few times a second
    the buckets of `core.per_client.rate`, which all workers write
    for each worker: the table of `core.per_client.connections`
    for each worker: the first visits that it tells the others of (`visit_board`)
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from limpet.core.per_client import connections, rate
from limpet.proxy import visit_board
from limpet.proxy.visit_board import VisitBoard

if TYPE_CHECKING:
    from limpet.core.target import TargetState

#: Of a worker: when it was last seen (monotonic milliseconds), open client connections,
#: connections accepted since its start, finished requests, connections refused.
FIELDS = ("seen_ms", "connections", "accepted", "requests", "rejected")
#: Of a target, by worker.
COUNTS = ("requests", "errors", "queued")
#: Targets that can be known at a time; one more shares nothing.
SLOTS = 4096
_NUMBER_BYTES = 8
_SALT_NUMBERS = 2
#: A worker that was not seen for so long counts as stuck.
_ALIVE_S = 1.0


_NO_CONNECTIONS = memoryview(bytes(_NUMBER_BYTES * connections.NUMBERS)).cast("q")


class Board:
    """The table.

    Args:
        descriptor: of a file that `make_file` made, in this process or the one it comes from.
        workers: how many there are.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.workers = workers
        memory = memoryview(mmap.mmap(descriptor, _size_bytes(workers)))
        visits_at = len(memory) - workers * visit_board.WORKER_BYTES
        self._numbers = memory[:visits_at].cast("q")
        self._visits = memory[visits_at:]
        self._salt_at = workers * len(FIELDS)
        self._rows_at = self._salt_at + _SALT_NUMBERS
        self._counts_at = self._rows_at + SLOTS * workers
        self._rates_at = self._counts_at + SLOTS * workers * len(COUNTS)
        self._connections_at = self._rates_at + rate.NUMBERS

    def visits(self, worker: int, group: str) -> VisitBoard:
        """Return the first visits of a target group, as a worker sees and tells them."""
        return VisitBoard(self._visits, worker, self.workers, group)

    def get(self, worker: int, field: str) -> int:
        """Return a worker's number."""
        return self._numbers[worker * len(FIELDS) + FIELDS.index(field)]

    def put(self, worker: int, field: str, value: int) -> None:
        """Write a worker's number."""
        self._numbers[worker * len(FIELDS) + FIELDS.index(field)] = value

    def total(self, field: str) -> int:
        """Return the sum over all workers."""
        return sum(self.get(worker, field) for worker in range(self.workers))

    def row(self, slot: int) -> memoryview:
        """Return a target's requests in flight, one number for each worker."""
        at = self._rows_at + slot * self.workers
        return self._numbers[at : at + self.workers]

    def put_counts(self, slot: int, worker: int, state: TargetState) -> None:
        """Write what a worker has counted of a target."""
        at = self._at_counts(slot, worker)
        for number, name in enumerate(COUNTS):
            self._numbers[at + number] = getattr(state, name)

    def counts(self, slot: int) -> list[int]:
        """Return the sums over all workers, in the order of `COUNTS`."""
        at, step = self._at_counts(slot, 0), len(COUNTS)
        return [sum(self._numbers[at + n : at + step * self.workers : step]) for n in range(step)]

    def salt(self) -> bytes:
        """Return the secret that clients' numbers depend on; the same for all workers."""
        return self._numbers[self._salt_at : self._rows_at].tobytes()

    def rate_table(self) -> memoryview[int]:
        """Return the table of the clients' buckets."""
        return self._numbers[self._rates_at : self._connections_at]

    def connection_tables(self) -> list[memoryview[int]]:
        """Return each worker's table of the clients' connections."""
        starts = [self._connections_at + worker * connections.NUMBERS for worker in range(self.workers)]
        return [self._numbers[start : start + connections.NUMBERS] for start in starts]

    def clear_slot(self, slot: int) -> None:
        """Make a slot ready for another target."""
        for worker in range(self.workers):
            self.row(slot)[worker] = 0
            self._clear_counts(slot, worker)

    def clear_worker(self, worker: int, slots: list[int]) -> list[list[int]]:
        """Take a worker's numbers out, after it died.

        Args:
            slots: the ones in use.

        Returns:
            Its counts by slot in the order given, which are not to be forgotten with it.
        """
        left = []
        for slot in slots:
            self.row(slot)[worker] = 0
            at = self._at_counts(slot, worker)
            left.append(list(self._numbers[at : at + len(COUNTS)]))
            self._clear_counts(slot, worker)
        for field in FIELDS:
            self.put(worker, field, 0)
        self.connection_tables()[worker][:] = _NO_CONNECTIONS
        return left

    def _at_counts(self, slot: int, worker: int) -> int:
        return self._counts_at + (slot * self.workers + worker) * len(COUNTS)

    def _clear_counts(self, slot: int, worker: int) -> None:
        at = self._at_counts(slot, worker)
        for number in range(len(COUNTS)):
            self._numbers[at + number] = 0


class Place:
    """One worker's place on the board; what its data plane writes and asks.

    Args:
        worker: its number, from 0.
    """

    def __init__(self, board: Board, worker: int) -> None:
        self._board = board
        self._worker = worker
        self._slots: dict[TargetState, int] = {}

    def visits(self, group: str) -> VisitBoard:
        """Return the first visits of a target group."""
        return self._board.visits(self._worker, group)

    def share(self, state: TargetState, slot: int) -> None:
        """Share a target's load from now on."""
        self._slots[state] = slot
        state.share(self._board.row(slot), self._worker)

    def forget(self, state: TargetState) -> None:
        """Stop writing down a target's counts."""
        self._slots.pop(state, None)

    def write_connections(self, count: int) -> None:
        """Write how many client connections are open."""
        self._board.put(self._worker, "connections", count)

    def salt(self) -> bytes:
        """As `Board.salt`."""
        return self._board.salt()

    def rate_table(self) -> memoryview[int]:
        """As `Board.rate_table`."""
        return self._board.rate_table()

    def connection_tables(self) -> tuple[list[memoryview[int]], int]:
        """Return each worker's table of the clients' connections, and which is this worker's."""
        return self._board.connection_tables(), self._worker

    def connections(self) -> int:
        """Return how many client connections are open on the machine."""
        return self._board.total("connections")

    def accepted(self) -> None:
        """Note a connection that this worker has accepted."""
        board, worker = self._board, self._worker
        board.put(worker, "accepted", board.get(worker, "accepted") + 1)

    def is_ahead(self, now_s: float) -> bool:
        """Whether this worker has clearly more connections than one that lives.

        Args:
            now_s: monotonic.
        """
        board, mine = self._board, self._worker
        living_ms = int((now_s - _ALIVE_S) * 1000)
        for worker in range(board.workers):
            if worker == mine or board.get(worker, "seen_ms") < living_ms:
                continue
            lead = board.get(mine, "connections") - board.get(worker, "connections")
            margin = 1 + board.get(worker, "connections") // 20
            if lead > margin:
                return True
            if lead >= -margin and self._has_accepted_more(worker):
                return True
        return False

    def _has_accepted_more(self, worker: int) -> bool:
        # Among equals: short connections are split as well, not only those that are kept.
        own, theirs = self._board.get(self._worker, "accepted"), self._board.get(worker, "accepted")
        return own > theirs + 4 + theirs // 20

    def write(self, now_s: float, requests: int, rejected: int) -> None:
        """Write what has been counted, and that this worker lives."""
        board, worker = self._board, self._worker
        board.put(worker, "seen_ms", int(now_s * 1000))
        board.put(worker, "requests", requests)
        board.put(worker, "rejected", rejected)
        for state, slot in self._slots.items():
            board.put_counts(slot, worker, state)


def make_file(workers: int, descriptor: int) -> None:
    """Give a file the size that a board needs; new numbers are 0, but for the salt."""
    os.ftruncate(descriptor, _size_bytes(workers))
    salt = os.urandom(_NUMBER_BYTES * _SALT_NUMBERS)
    os.pwrite(descriptor, salt, _NUMBER_BYTES * workers * len(FIELDS))


def _size_bytes(workers: int) -> int:
    for_each_worker = len(FIELDS) + SLOTS * (1 + len(COUNTS)) + connections.NUMBERS
    numbers = workers * for_each_worker + _SALT_NUMBERS + rate.NUMBERS
    return _NUMBER_BYTES * numbers + workers * visit_board.WORKER_BYTES
