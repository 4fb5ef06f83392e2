"""What is remembered of Cookie headers, and what must not be."""

import os

from limpet.core.key_ring import KeyRing
from limpet.core.stickiness.contract import Finding, StickyStatus
from limpet.core.stickiness.ticket import Ticket, seal
from limpet.core.stickiness.ticket_cookies import MAX_KNOWN, MAX_KNOWN_BYTES, TicketCookies

RING = KeyRing([b"k" * 32])
TICKET = Ticket(ticket_id=b"i" * 16, target_id="A", group="web", issued_at_s=1, last_seen_s=1)
COOKIE = b"limpet=" + seal(TICKET, RING, os.urandom)


def pinned(status, ticket, is_agreed):
    return Finding(status, ticket.target_id, ticket, ticket.ticket_id, is_settled=is_agreed)


def reader(ring=RING, group="web", **companion):
    return TicketCookies((b"limpet",), group, ring, pinned, **companion)


def test_a_known_header_is_read_once():
    cookies = reader()
    assert cookies.read(COOKIE) is cookies.read(COOKIE)


def test_what_was_read_with_other_keys_or_for_another_group_is_not_believed():
    assert reader().read(COOKIE).status is StickyStatus.FOUND
    assert reader(KeyRing([b"o" * 32])).read(COOKIE).status is StickyStatus.UNKNOWN_KEY
    assert reader(group="api").read(COOKIE).status is StickyStatus.OTHER_GROUP


def test_the_memory_is_bounded_in_number_and_in_bytes():
    cookies = reader()
    for number in range(2 * MAX_KNOWN + 10):
        cookies.read(b"limpet=%d" % number)
    assert len(cookies._known) <= MAX_KNOWN
    long = COOKIE + b"; filler=" + b"x" * MAX_KNOWN_BYTES
    assert cookies.read(long).target_id == "A"
    assert long not in cookies._known


def test_no_ticket_counts_without_its_companion():
    cookies = reader(companion=b"sid")
    assert cookies.read(COOKIE).status is StickyStatus.APP_COOKIE_MISSING
    assert cookies.read(COOKIE + b"; sid=1").status is StickyStatus.FOUND
    assert cookies.read(b"sid=1").status is StickyStatus.ABSENT
