"""First visits of all workers: a part of the board where each tells the others where it sends whom.

Theory of operation. Each worker has slots of its own, and is the only one to write them; which slot
is for a visit follows from its key, and a newer visit takes the place of an older one. Numbers
that change are 8 aligned bytes. What belongs together is written between two changes of a sequence
number, and a reader that sees it change looks away: it then knows nothing, which is never wrong.

Two workers that see the first requests of one client within the same few microseconds do not see
each other's visit. Then the last answer decides, as between two balancers.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import TYPE_CHECKING

from limpet.core.stickiness.first_visits import OtherVisit

if TYPE_CHECKING:
    from limpet.core.stickiness.first_visits import Visit

#: Visits that a worker tells of at a time.
SLOTS = 256
#: Sequence number, start, last end (monotonic milliseconds), requests in flight; then the rest.
_NUMBERS = struct.Struct("=qqqq")
_REST = struct.Struct("=16s16sB79s")
SLOT_BYTES = 160
WORKER_BYTES = SLOTS * SLOT_BYTES
_MAX_ID_BYTES = 79
_SEQUENCE, _STARTED, _ENDED, _IN_FLIGHT = range(4)


class VisitBoard:
    """The visits of one target group, among those of other groups.

    Args:
        memory: of all workers, `WORKER_BYTES` for each.
        worker: whose visits are told.
        workers: how many there are.
        group: name of the target group.
    """

    def __init__(self, memory: memoryview, worker: int, workers: int, group: str) -> None:
        self._bytes = memory
        self._numbers = memory.cast("q")
        self._worker = worker
        self._others = [other for other in range(workers) if other != worker]
        self._group = group.encode()

    def find(self, fingerprint: bytes) -> OtherVisit | None:
        """Return the visit of the same client that another worker began; None if there is none."""
        key = self._key(fingerprint)
        for other in self._others:
            at = self._at(other, key)
            number = at // 8
            sequence = self._numbers[number]
            if sequence % 2:
                continue
            known, ticket_id, length, name = _REST.unpack_from(self._bytes, at + _NUMBERS.size)
            numbers = list(self._numbers[number : number + 4])
            if known != key or numbers[_SEQUENCE] != sequence or not length:
                continue
            return OtherVisit(
                ticket_id,
                name[:length].decode(),
                numbers[_STARTED] / 1000,
                numbers[_ENDED] / 1000,
                numbers[_IN_FLIGHT],
            )
        return None

    def tell(self, visit: Visit) -> None:
        """Tell the others of a visit that began here, or where it goes now."""
        name = (visit.target_id or "").encode()
        if len(name) > _MAX_ID_BYTES:
            return
        key = self._key(visit.fingerprint)
        at = self._at(self._worker, key)
        number = at // 8
        self._numbers[number] += 1
        _REST.pack_into(self._bytes, at + _NUMBERS.size, key, visit.ticket_id, len(name), name)
        self._numbers[number + _STARTED] = int(visit.started_s * 1000)
        self._write(number, visit)
        self._numbers[number] += 1

    def tell_progress(self, visit: Visit) -> None:
        """Tell the others that a request of a visit has begun or ended."""
        key = self._key(visit.fingerprint)
        at = self._at(self._worker, key)
        if bytes(self._bytes[at + _NUMBERS.size : at + _NUMBERS.size + 16]) == key:
            self._write(at // 8, visit)

    def _write(self, number: int, visit: Visit) -> None:
        self._numbers[number + _ENDED] = int(visit.ended_s * 1000)
        self._numbers[number + _IN_FLIGHT] = visit.in_flight

    def _key(self, fingerprint: bytes) -> bytes:
        return blake2b(fingerprint, digest_size=16, key=self._group[:64]).digest()

    def _at(self, worker: int, key: bytes) -> int:
        return (worker * SLOTS + key[0]) * SLOT_BYTES
