"""Tickets: sealed, opened, and told apart when they cannot be."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limpet.core.key_ring import KeyRing
from limpet.core.stickiness.contract import StickyStatus
from limpet.core.stickiness.ticket import Ticket, open_ticket, seal

RING = KeyRing([b"k" * 32])
TICKET = Ticket(
    ticket_id=bytes(range(16)),
    target_id="A",
    group="web",
    issued_at_s=1_700_000_000,
    last_seen_s=1_700_000_100,
)
SEALED = seal(TICKET, RING, bytes)

#: Sealed by version 1 with the key of 32 "k"; must be readable for ever.
GOLDEN_1 = (
    b"1.hBHyagBLAAECAwQFBgcICQoLatz2LQDVgHJLklmBaMgGV529S2T5NW3hr3zppfAqlCitODPmliUZEP"
    b"WScg3bLX-D37lF-1uZDSBYTFah8u8D"
)


def raw(value):
    body = value.removeprefix(b"1.")
    return base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))


def text(data):
    return b"1." + base64.urlsafe_b64encode(data).rstrip(b"=")


@given(
    st.builds(
        Ticket,
        ticket_id=st.binary(min_size=16, max_size=16),
        target_id=st.text(max_size=20),
        group=st.text(max_size=20),
        issued_at_s=st.integers(0, 2**32 - 1),
        last_seen_s=st.integers(0, 2**32 - 1),
        epoch=st.integers(0, 2**32 - 1),
        session_version=st.integers(0, 2**64 - 1),
        expires_at_s=st.integers(0, 2**32 - 1),
        attributes=st.binary(max_size=255),
    )
)
def test_a_sealed_ticket_opens_to_itself(ticket):
    value = seal(ticket, RING, os.urandom)
    assert open_ticket(value, RING) == ticket
    # cookie-octet of RFC 6265 section 4.1.1
    assert all(c in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_." for c in value)


@given(st.binary(max_size=200))
def test_whatever_a_client_sends_has_a_status(value):
    assert isinstance(open_ticket(value, RING), StickyStatus)
    assert isinstance(open_ticket(b"1." + value, RING), StickyStatus)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"", StickyStatus.MALFORMED),
        (b"garbage", StickyStatus.MALFORMED),
        (b"_remove_", StickyStatus.MALFORMED),
        (b"1.not base64!", StickyStatus.MALFORMED),
        (b"1." + b"A" * 5000, StickyStatus.MALFORMED),
        (b"1.", StickyStatus.TRUNCATED),
        (SEALED[:10], StickyStatus.TRUNCATED),
        (SEALED[:-1], StickyStatus.TRUNCATED),
        (SEALED[:-20], StickyStatus.TRUNCATED),
        (b"2" + SEALED[1:], StickyStatus.UNKNOWN_VERSION),
        (seal(TICKET, KeyRing([b"x" * 32]), os.urandom), StickyStatus.UNKNOWN_KEY),
        (text(raw(SEALED)[:-1] + bytes([raw(SEALED)[-1] ^ 1])), StickyStatus.TAMPERED),
        (SEALED + b"AAAA", StickyStatus.TAMPERED),
    ],
)
def test_what_cannot_be_opened_has_its_own_status(value, status):
    assert open_ticket(value, RING) is status


@given(st.integers(0, len(raw(SEALED)) - 1), st.integers(1, 255))
def test_no_changed_byte_opens(position, change):
    data = bytearray(raw(SEALED))
    data[position] ^= change
    assert isinstance(open_ticket(text(bytes(data)), RING), StickyStatus)


def test_the_newest_key_seals_and_all_open():
    old, new = b"o" * 32, b"n" * 32
    sealed_before = seal(TICKET, KeyRing([old]), os.urandom)
    ring = KeyRing([new, old])
    assert open_ticket(sealed_before, ring) == TICKET
    assert open_ticket(seal(TICKET, ring, os.urandom), KeyRing([new])) == TICKET


def test_it_names_no_address_and_no_target():
    target = Ticket(ticket_id=b"i" * 16, target_id="web-server-7", group="shop", issued_at_s=1, last_seen_s=1)
    assert b"web-server-7" not in raw(seal(target, RING, os.urandom))
    assert b"shop" not in raw(seal(target, RING, os.urandom))


def test_a_recorded_ticket_of_version_1_is_still_readable():
    assert open_ticket(GOLDEN_1, RING) == TICKET
