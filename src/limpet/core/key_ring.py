"""The keys that seal tickets: the newest seals, all open.

A ring is written as text, one key per line or word, the newest first: 32 random bytes in base64
or hexadecimal. A key's id is derived from the key, so balancers that share a file agree on it
without naming keys. To rotate: add a new key last on every balancer, then move it to the front on
every balancer, and take the oldest away when no ticket of its time is wanted any more.

AES-256-GCM with random 96-bit nonces: one key must not seal more than 2**32 tickets (NIST SP
800-38D section 8.3). A ticket is sealed once per session and tenth of its duration, so a site
with a million daily users reaches that after a year.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from limpet.errors import KeyRingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY_BYTES = 32
KEY_ID_BYTES = 4


class KeyRing:
    """Keys, newest first.

    Args:
        keys: 32 bytes each; at least one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyRingError(f"a key ring needs keys of {KEY_BYTES} bytes")
        self._keys = tuple(keys)
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self.newest_id = key_id(keys[0])

    def cipher(self, id_: bytes) -> AESGCM | None:
        """Return the cipher of a key id; None for a key that is not on the ring."""
        return self._ciphers.get(id_)

    @property
    def ordered_ids(self) -> list[bytes]:
        """The ids of all keys, newest first."""
        return [key_id(key) for key in self._keys]

    @property
    def ids(self) -> frozenset[bytes]:
        """The ids of all keys; they say nothing about the keys."""
        return frozenset(self._ciphers)

    def __eq__(self, other: object) -> bool:
        """Two rings are equal if they seal and open the same."""
        return isinstance(other, KeyRing) and (self.newest_id, self.ids) == (other.newest_id, other.ids)

    def __hash__(self) -> int:
        """Return a hash of the key ids."""
        return hash((self.newest_id, self.ids))

    def __reduce__(self) -> tuple[type[KeyRing], tuple[tuple[bytes, ...]]]:
        """Return what makes an equal ring, for the workers of one balancer."""
        return KeyRing, (self._keys,)

    def __repr__(self) -> str:
        """Return the ids; never a key."""
        return f"<KeyRing of {len(self._ciphers)}, newest {self.newest_id.hex()}>"


def key_id(key: bytes) -> bytes:
    """Return the public id of a key."""
    return blake2b(key, digest_size=KEY_ID_BYTES, person=b"limpet key id").digest()


def generate_key(entropy: Callable[[int], bytes]) -> str:
    """Return a new key as a line of a key file."""
    return base64.b64encode(entropy(KEY_BYTES)).decode()


def parse_key_ring(text: str) -> KeyRing:
    """Read a key file or variable: keys newest first, `#` begins a comment.

    Raises:
        KeyRingError: it names the line, what is wrong and what to do; it shows no key.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("#")[0].replace(",", " ").split():
            key = _decode(word)
            if len(key) != KEY_BYTES:
                raise KeyRingError(
                    f"line {number} is not a key of {KEY_BYTES} bytes in base64 or hex; "
                    "make one with: openssl rand -base64 32"
                )
            keys.append(key)
    if not keys:
        raise KeyRingError("there is no key; make one with: openssl rand -base64 32")
    return KeyRing(keys)


def _decode(word: str) -> bytes:
    try:
        if len(word) == 2 * KEY_BYTES:
            return bytes.fromhex(word)
        return base64.b64decode(
            word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True
        )
    except (ValueError, binascii.Error):
        return b""
