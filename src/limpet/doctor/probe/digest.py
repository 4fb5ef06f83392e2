"""Hashes that let values be compared and not be known. The salt is the run's and is never kept."""

from __future__ import annotations

import secrets
from hashlib import blake2b


class Digest:
    """A salted hash of eight hexadecimal digits."""

    def __init__(self, salt: bytes | None = None) -> None:
        self._salt = salt or secrets.token_bytes(16)

    def __call__(self, value: str) -> str:
        """Return the hash of a value; "" for an empty one."""
        if not value:
            return ""
        return blake2b(value.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=4).hexdigest()
