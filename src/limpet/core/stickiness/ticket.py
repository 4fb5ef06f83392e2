"""Tickets: what limpet's cookies hold, sealed so that nobody else can read or make them.

A ticket is `1.` and base64url (without padding) of

    key id (4) | length of all that follows (2) | nonce (12) | AES-256-GCM ciphertext and tag

where `1.`, key id and length are authenticated too. The length tells a ticket that was cut
short on its way from one that was changed. The plaintext is

    ticket id (16) | issued at, last seen, epoch, expires at (4 each) | session version (8)
    | target id | group | cookie attributes, each with its length in one byte before it

Times are seconds of the wall clock since 1970: several balancers must agree on them. Each
format version has its own decoder in `_DECODERS` and stays there for ever.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag

from limpet.core.key_ring import KEY_ID_BYTES
from limpet.core.session_state import NO_FLOOR, Floor
from limpet.core.stickiness.contract import StickyStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.key_ring import KeyRing

_VERSION = b"1."
_NONCE_BYTES = 12
_FIXED = struct.Struct("!16sIIIIQ")
_LENGTH = struct.Struct("!H")
_VERSION_BITS = 32
_MAX_VERSION = 0xFFFF_FFFF
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")
#: Longest value worth decoding; browsers keep no cookie above 4096 bytes.
_MAX_BYTES = 4096


class Ticket(NamedTuple):
    """An opened ticket.

    Attributes:
        ticket_id: 16 random bytes; stays the same as long as the session does.
        target_id: where the session is pinned.
        group: the target group that it belongs to.
        issued_at_s: wall clock, whole seconds; when the session began.
        last_seen_s: wall clock, whole seconds; when the ticket was sealed last.
        epoch: grows with each change of the target: of two tickets of a session the later is newer.
        session_version: `floor` as one number: the tag, then the version in the lower half; 0 if unknown.
        expires_at_s: wall clock; the end that an app's cookie gave it; 0 for none.
        attributes: of the cookie that carries it, if they must outlive a re-pin.
    """

    ticket_id: bytes
    target_id: str
    group: str
    issued_at_s: int
    last_seen_s: int
    epoch: int = 0
    session_version: int = 0
    expires_at_s: int = 0
    attributes: bytes = b""

    @property
    def floor(self) -> Floor:
        """The version of the session's data that its client may have seen."""
        if not self.session_version:
            return NO_FLOOR
        tag, version = self.session_version >> _VERSION_BITS, self.session_version & _MAX_VERSION
        return Floor(version, f"{tag:08x}" if tag else "")


def version_of(floor: Floor) -> int:
    """Return the `session_version` of a floor.

    A floor that is too high would never be reached, so a version without a place is cut down.
    """
    tag = int(floor.tag or "0", 16)
    return (tag << _VERSION_BITS) + min(floor.version, _MAX_VERSION)


def seal(ticket: Ticket, ring: KeyRing, entropy: Callable[[int], bytes]) -> bytes:
    """Return a ticket as a cookie value, sealed with the newest key."""
    plain = _FIXED.pack(
        ticket.ticket_id,
        ticket.issued_at_s,
        ticket.last_seen_s,
        ticket.epoch,
        ticket.expires_at_s,
        ticket.session_version,
    )
    for text in (ticket.target_id.encode(), ticket.group.encode(), ticket.attributes):
        plain += bytes([len(text)]) + text
    cipher = ring.cipher(ring.newest_id)
    assert cipher is not None  # noqa: S101  # a ring holds its newest key
    head = ring.newest_id + _LENGTH.pack(_NONCE_BYTES + len(plain) + 16)
    nonce = entropy(_NONCE_BYTES)
    return _VERSION + _encode(head + nonce + cipher.encrypt(nonce, plain, _VERSION + head))


def open_ticket(value: bytes, ring: KeyRing) -> Ticket | StickyStatus:
    """Open a cookie value.

    Returns:
        The ticket, or MALFORMED, TRUNCATED, UNKNOWN_VERSION, UNKNOWN_KEY or TAMPERED.
    """
    version, dot, body = value.partition(b".")
    if not dot or not version.isdigit() or len(value) > _MAX_BYTES:
        return StickyStatus.MALFORMED
    decode = _DECODERS.get(version)
    if decode is None:
        return StickyStatus.UNKNOWN_VERSION
    return decode(body, ring)


def _decode_1(body: bytes, ring: KeyRing) -> Ticket | StickyStatus:
    whole = body[:-1] if len(body) % 4 == 1 else body  # one character alone encodes nothing
    try:
        padded = whole.translate(_TO_STANDARD) + _PADDING[len(whole) % 4]
        raw = binascii.a2b_base64(padded, strict_mode=True)
    except binascii.Error:
        return StickyStatus.MALFORMED
    head = raw[: KEY_ID_BYTES + _LENGTH.size]
    sealed = raw[len(head) :]
    if len(head) < KEY_ID_BYTES + _LENGTH.size or len(sealed) < _LENGTH.unpack(head[KEY_ID_BYTES:])[0]:
        return StickyStatus.TRUNCATED
    cipher = ring.cipher(head[:KEY_ID_BYTES])
    if cipher is None:
        return StickyStatus.UNKNOWN_KEY
    if _encode(raw) != body:  # base64 has several spellings of the same bytes; one is ours
        return StickyStatus.TAMPERED
    try:
        plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _VERSION + head)
    except (InvalidTag, ValueError):
        return StickyStatus.TAMPERED
    return _read_plain(plain)


def _encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _read_plain(plain: bytes) -> Ticket:
    ticket_id, issued_at_s, last_seen_s, epoch, expires_at_s, session_version = _FIXED.unpack_from(plain)
    target_end = _FIXED.size + 1 + plain[_FIXED.size]
    group_end = target_end + 1 + plain[target_end]
    return Ticket(
        ticket_id,
        plain[_FIXED.size + 1 : target_end].decode(),
        plain[target_end + 1 : group_end].decode(),
        issued_at_s,
        last_seen_s,
        epoch,
        session_version,
        expires_at_s,
        plain[group_end + 1 :],
    )


_DECODERS: dict[bytes, Callable[[bytes, KeyRing], Ticket | StickyStatus]] = {b"1": _decode_1}
