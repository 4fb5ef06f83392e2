"""Session ids: 256 random bits, signed, and hashed before they reach a store.

The cookie's value is `1.` and base64url (without padding) of

    key id (4) | id (32) | user key (16; zero for a visitor) | issued at, ends at (4 each) | MAC (32)

where the MAC is HMAC-SHA256 and covers all before it and the version. The MAC proves that we issued the id: a
client cannot choose one, and garbage costs no look into the store. The store only ever sees SHA-256 of the
id, so a leaked store holds nothing that works as a cookie. The user key, a keyed hash of the
user's id, lets a store read the session and the user's epoch in one round trip.

A secret ring is one or several secrets, the newest first: the newest signs, all verify.

Source: OWASP ASVS 5.0 7.2.3 (at least 128 bits of entropy), 11.2.2 (keys can be replaced).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from limpet.core.key_ring import KeyRing
from limpet.errors import KeyRingError
from limpet.sessions.record import EndReason, Key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_VERSION = "1."
_ID_BYTES = 32
_BODY = struct.Struct("!4s32s16sII")
_MAC_BYTES = 32
_VISITOR = bytes(16)
_TEXT_LENGTH = len(_VERSION) + -(-(_BODY.size + _MAC_BYTES) * 4 // 3)
_PADDING = b"=" * (-(_TEXT_LENGTH - len(_VERSION)) % 4)
_FROM_URL, _TO_URL = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
#: The newest moment that the cookie's four bytes hold; in the year 2106.
MAX_TIME_S = 2**32 - 1
MIN_SECRET_BYTES = 16


class SessionId(NamedTuple):
    """An id that carries our signature.

    Attributes:
        raw: 32 bytes; never leaves the process but in the signed cookie.
        user_key: keyed hash of the user, 32 hexadecimal digits; empty for a visitor.
        issued_s: wall clock, whole seconds.
        ends_s: wall clock, whole seconds; the absolute end of the session.
        is_newest_key: whether the newest secret signed it; if not, renew it soon.
    """

    raw: bytes
    user_key: str
    issued_s: int
    ends_s: int
    is_newest_key: bool = True

    @property
    def key(self) -> Key:
        """Where a store keeps the session."""
        return Key(sha256(self.raw).hexdigest(), self.user_key)

    def __repr__(self) -> str:
        """Return where the session is; a traceback with local variables shows no id."""
        return f"<SessionId of {self.key.session[:8]}>"


class SecretRing:
    """Secrets, newest first; keys for every purpose are derived from them.

    Args:
        secrets: each at least 16 bytes, better 32 random ones in base64.
    """

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        encoded = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
        if not encoded or any(len(secret) < MIN_SECRET_BYTES for secret in encoded):
            raise KeyRingError(
                f"a session secret needs at least {MIN_SECRET_BYTES} characters; "
                "make one with: openssl rand -base64 32"
            )
        self._signers = {self._derive(secret, b"key id")[:4]: secret for secret in encoded}
        self._newest_id = self._derive(encoded[0], b"key id")[:4]
        # Begun once and copied for each id: to begin takes longer than to finish.
        self._macs = {
            id_: hmac.new(self._derive(secret, b"session id"), _VERSION.encode(), "sha256")
            for id_, secret in self._signers.items()
        }
        self._user_keys = [self._derive(secret, b"user key") for secret in encoded]
        self._successor_keys = {id_: self._derive(s, b"successor") for id_, s in self._signers.items()}
        self._adoption_keys = [self._derive(secret, b"adoption") for secret in encoded]
        self._reference_key = self._derive(encoded[0], b"reference")
        # Of the secret whose id comes first: servers may have the same ones in another order.
        self.fingerprint_key = self._derive(min(self._signers.items())[1], b"fingerprint")

    @staticmethod
    def _derive(secret: bytes, purpose: bytes) -> bytes:
        return hmac.digest(secret, b"limpet sessions " + purpose, "sha256")

    def new_id(
        self, *, user_key: str, issued_s: float, ends_s: float, entropy: Callable[[int], bytes]
    ) -> SessionId:
        """Return a fresh id."""
        return SessionId(entropy(_ID_BYTES), user_key, int(issued_s), _whole_s(ends_s))

    def successor(self, old: SessionId, *, user_key: str, issued_s: float, ends_s: float) -> SessionId:
        """Return the id that follows another at renewal; the same on every server.

        Parallel requests, and a retry whose answer was lost, all get the same new cookie. Only
        who has the secret can compute it.
        """
        raw = hmac.digest(self._successor_keys[self._newest_id], old.raw, "sha256")
        return SessionId(raw, user_key, int(issued_s), _whole_s(ends_s))

    def adopted_ids(self, old: bytes, *, user: bytes, issued_s: float, ends_s: float) -> list[SessionId]:
        """Return the ids of what is derived from another library's session; the newest secret's first.

        Args:
            old: names that session.
            user: the user's id, encoded; empty for a visitor.
        """
        user_keys = self.user_keys(user) if user else [""] * len(self._adoption_keys)
        raws = [hmac.digest(key, old, "sha256") for key in self._adoption_keys]
        pairs = zip(raws, user_keys, strict=True)
        return [SessionId(raw, user_key, int(issued_s), _whole_s(ends_s)) for raw, user_key in pairs]

    def tag(self, names: Sequence[bytes]) -> bytes:
        """Return a keyed hash of 8 bytes by which a session knows other libraries' cookies again."""
        return hmac.digest(self._reference_key, b"\0".join(names), "sha256")[:8] if names else b""

    def extended(self, session_id: SessionId, ends_s: float) -> SessionId:
        """Return an id with another absolute end."""
        return session_id._replace(ends_s=_whole_s(ends_s))

    def sign(self, session_id: SessionId) -> str:
        """Return an id as a cookie value, signed with the newest secret."""
        user = bytes.fromhex(session_id.user_key) or _VISITOR
        body = _BODY.pack(self._newest_id, session_id.raw, user, session_id.issued_s, session_id.ends_s)
        return _VERSION + _encode(body + self._mac(self._newest_id, body))

    def read(self, value: str, now_s: float) -> SessionId | EndReason:
        """Read a cookie value.

        Returns:
            The id, or why it counts for nothing: BAD_SIGNATURE, UNKNOWN_KEY or ABSOLUTE.
        """
        raw = _decode(value)
        if raw is None:
            return EndReason.BAD_SIGNATURE
        body, mac = raw[: _BODY.size], raw[_BODY.size :]
        kid, id_, user, issued_s, ends_s = _BODY.unpack(body)
        if kid not in self._macs:
            return EndReason.UNKNOWN_KEY
        if not hmac.compare_digest(self._mac(kid, body), mac):
            return EndReason.BAD_SIGNATURE
        if ends_s <= now_s:
            return EndReason.ABSOLUTE
        return SessionId(
            id_, "" if user == _VISITOR else user.hex(), issued_s, ends_s, kid == self._newest_id
        )

    def user_keys(self, user_id: bytes) -> list[str]:
        """Return a user's keys: first the one that logins get, then those of older secrets."""
        return [hmac.digest(key, user_id, "sha256")[:16].hex() for key in self._user_keys]

    def reference(self, key: Key) -> str:
        """Return what names a session in logs and lists; it opens nothing.

        Returns:
            A keyed hash of 16 hexadecimal digits; before it the user's key and a hyphen if there is
            a user, so that a store finds the session without reading every other.
        """
        name = hmac.digest(self._reference_key, key.session.encode(), "sha256")[:8].hex()
        return f"{key.user}-{name}" if key.user else name

    def cipher_ring(self) -> KeyRing:
        """Return the keys for encryption at rest."""
        return KeyRing([self._derive(secret, b"encryption at rest") for secret in self._signers.values()])

    @property
    def ids(self) -> list[str]:
        """What names each secret, the newest first: 8 hexadecimal digits, as cookies carry them."""
        return [each.hex() for each in self._signers]

    def _mac(self, kid: bytes, body: bytes) -> bytes:
        mac = self._macs[kid].copy()
        mac.update(body)
        return mac.digest()

    def __repr__(self) -> str:
        """Return the ids of the secrets; never a secret."""
        return f"<SecretRing of {len(self._signers)}, newest {self._newest_id.hex()}>"


def from_setting(secrets: Sequence[str | bytes], name: str) -> Sequence[str | bytes]:
    """Return the secrets that a framework's setting holds.

    Raises:
        KeyRingError: one is too short; the error names the setting.
    """
    try:
        SecretRing(secrets)
    except KeyRingError as error:
        raise KeyRingError(f"{name}: {error}") from None
    return secrets


def parse_secrets(text: str) -> SecretRing:
    """Read secrets from an environment variable."""
    return SecretRing(split_secrets(text))


def split_secrets(text: str) -> list[str]:
    """Return the secrets in a text: newest first, one a line or between commas."""
    words = [word.strip() for word in text.replace(",", "\n").splitlines()]
    return [word for word in words if word]


def _whole_s(ends_s: float) -> int:
    # Rounded up: the record knows the end exactly, and the cookie must not come before it.
    return min(math.ceil(ends_s), MAX_TIME_S)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(value: str) -> bytes | None:
    # base64 has several spellings of the same bytes; only the one that we write is ours.
    if len(value) != _TEXT_LENGTH or not value.startswith(_VERSION) or not value.isascii():
        return None
    text = value[len(_VERSION) :].encode()
    try:
        raw = binascii.a2b_base64(text.translate(_FROM_URL) + _PADDING)
    except binascii.Error:
        return None
    return raw if binascii.b2a_base64(raw, newline=False).translate(_TO_URL) == text + _PADDING else None
