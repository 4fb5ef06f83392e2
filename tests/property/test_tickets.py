"""No value but the sealed one opens, whatever is done to it."""

import os

from hypothesis import given
from hypothesis import strategies as st

from limpet.core.key_ring import KeyRing
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal

RING = KeyRing([b"k" * 32])
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#: Names of every length modulo 3: base64 then ends with 0, 2 or 4 unused bits.
SEALED = [
    seal(
        Ticket(ticket_id=b"i" * 16, target_id=name, group="web", issued_at_s=1, last_seen_s=2),
        RING,
        os.urandom,
    )
    for name in ("A", "AB", "ABC")
]


@given(st.sampled_from(SEALED), st.data())
def test_no_changed_character_opens(value, data):
    position = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != value[position]))
    changed = value[:position] + bytes([other]) + value[position + 1 :]
    assert isinstance(open_ticket(changed, RING), StickyStatus)


def test_no_other_spelling_of_the_last_character_opens():
    for value in SEALED:
        for other in set(ALPHABET) - {value[-1]}:
            assert open_ticket(value[:-1] + bytes([other]), RING) is StickyStatus.TAMPERED


@given(st.sampled_from(SEALED), st.binary(min_size=1, max_size=8))
def test_nothing_can_be_added(value, tail):
    assert isinstance(open_ticket(value + tail, RING), StickyStatus)
    assert isinstance(open_ticket(value + b"A" * len(tail), RING), StickyStatus)


def test_every_beginning_is_told_as_one():
    for value in SEALED:
        for length in range(len(b"1."), len(value)):
            assert open_ticket(value[:length], RING) is StickyStatus.TRUNCATED
