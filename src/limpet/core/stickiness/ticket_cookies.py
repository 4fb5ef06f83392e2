"""Reads tickets out of Cookie headers, and remembers what it read.

Theory of operation. A browser sends the same Cookie header with every request of a page, so the
header's bytes are the key of a bounded memory: a known header costs one dictionary look-up and
opens no seal. The memory belongs to one reader, and a reader to one key ring and one group, so
nothing that was read under other keys is believed. Time is not judged here: it does not stand
still while a header is remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.cookies import find_values
from limpet.core.stickiness.contract import Finding, StickyStatus
from limpet.core.stickiness.ticket import Ticket, open_ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.key_ring import KeyRing

#: Cookie headers remembered; when there are more, all are forgotten and read again.
MAX_KNOWN = 4096
#: Longer headers are read every time, so that nobody can fill the memory with them.
MAX_KNOWN_BYTES = 4096


class TicketCookies:
    """The tickets of one target group in the Cookie headers of its requests.

    Args:
        names: of the cookies that hold tickets; the same ticket in two of them is one.
        group: the target group; tickets of others do not count.
        ring: opens the tickets.
        pinned: makes the finding of a ticket; its last argument tells whether all cookies agree.
        former: further names, whose tickets count if they are the newest; they do not agree then, so
            that the ticket is sent anew under its present name.
        companion: name of a cookie without which no ticket counts; None for none.
    """

    def __init__(
        self,
        names: tuple[bytes, ...],
        group: str,
        ring: KeyRing,
        pinned: Callable[[StickyStatus, Ticket, bool], Finding],
        *,
        former: tuple[bytes, ...] = (),
        companion: bytes | None = None,
    ) -> None:
        self._names = names
        self._former = former
        self._group = group
        self._ring = ring
        self._pinned = pinned
        self._companion = companion
        self._known: dict[bytes, Finding] = {}

    def read(self, cookie: bytes) -> Finding:
        """Return what a Cookie header holds, whatever its age.

        The same finding is returned to all who ask for the same header. One without a ticket must
        be copied before a visit is noted in it.
        """
        finding = self._known.get(cookie)
        if finding is None:
            finding = self._find(cookie)
            if len(cookie) <= MAX_KNOWN_BYTES:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[cookie] = finding
        return finding

    def _find(self, cookie: bytes) -> Finding:
        by_name = [find_values(cookie, name) for name in self._names]
        values = dict.fromkeys([value for values in by_name for value in values])
        former = dict.fromkeys([v for name in self._former for v in find_values(cookie, name)])
        if not values and not former:
            return Finding(StickyStatus.ABSENT)
        if self._companion is not None and not find_values(cookie, self._companion):
            return Finding(StickyStatus.APP_COOKIE_MISSING)
        opened = [open_ticket(value, self._ring) for value in values]
        tickets = [ticket for ticket in opened if isinstance(ticket, Ticket)]
        mine = [ticket for ticket in tickets if ticket.group == self._group]
        newest = max(mine, key=_last_seen) if mine else None
        older = [open_ticket(value, self._ring) for value in former]
        theirs = [ticket for ticket in older if isinstance(ticket, Ticket) and ticket.group == self._group]
        newest_former = max(theirs, key=_last_seen) if theirs else None
        if newest_former is not None and (newest is None or _last_seen(newest_former) > _last_seen(newest)):
            return self._pinned(StickyStatus.FOUND, newest_former, False)
        if newest is not None:
            is_one = max(map(len, by_name)) == 1
            status = StickyStatus.FOUND if is_one else StickyStatus.SEVERAL
            return self._pinned(status, newest, len(values) == 1)
        if tickets:
            return Finding(StickyStatus.OTHER_GROUP)
        failures = [status for status in opened if isinstance(status, StickyStatus)]
        return Finding(failures[0] if failures else StickyStatus.ABSENT)


def _last_seen(ticket: Ticket) -> int:
    return ticket.last_seen_s
