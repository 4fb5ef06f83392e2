"""What TLS needs, as data: read and checked by `config`, made into contexts by the data plane.

It is data, with the files' contents in it, so that a certificate and its key are one value that
changes as a whole: a listener whose certificate was renewed is another listener on the same
address, and a reload treats it like any other change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClientAuth(StrEnum):
    """Whether clients have to show a certificate."""

    OFF = "off"
    OPTIONAL = "optional"  # one that is shown must be valid
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate with its key.

    Attributes:
        chain: PEM; the certificate itself first, then those that vouch for it.
        key: PEM, not encrypted.
        names: DNS names (`*.shop.example` too) and IP addresses that it is for, in lower case.
        not_before_s: wall clock; when the certificate began to be valid.
        not_after_s: wall clock; when the first of the chain expires.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    names: tuple[str, ...]
    not_before_s: float
    not_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTls:
    """How a listener speaks TLS.

    Attributes:
        pairs: the first is for clients that name no host, or one that no pair is for.
        min_version: "1.2" or "1.3".
        is_strict: refuse those clients instead.
        client_auth: whether clients have to show a certificate.
        client_ca: PEM; who vouches for the certificates of clients.
        hsts_s: for `Strict-Transport-Security: max-age`; 0 for none.
    """

    pairs: tuple[KeyPair, ...]
    min_version: str = "1.2"
    is_strict: bool = False
    client_auth: ClientAuth = ClientAuth.OFF
    client_ca: bytes = field(default=b"", repr=False)
    hsts_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTls:
    """How targets are spoken to by TLS.

    Attributes:
        ca: PEM; who vouches for the certificates of targets; b"" for whom the system trusts.
        server_name: that their certificates must be for; "" for the host of each target's address.
        pair: shown to targets that ask for a certificate.
        is_verified: whether their certificates are looked at.
    """

    ca: bytes = field(default=b"", repr=False)
    server_name: str = ""
    pair: KeyPair | None = None
    is_verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsRedirect:
    """Where a plain listener sends its clients.

    Attributes:
        port: of the TLS listener as clients see it.
        acme_webroot: folder whose `.well-known/acme-challenge` is served nevertheless; "" for none.
    """

    port: int = 443
    acme_webroot: str = ""


def by_name(pairs: tuple[KeyPair, ...]) -> dict[str, int]:
    """Return which pair is for which name; the first of several that are for the same."""
    found: dict[str, int] = {}
    for number, pair in enumerate(pairs):
        for name in pair.names:
            found.setdefault(name, number)
    return found


def find_pair(numbers: Mapping[str, int], server_name: str) -> int | None:
    """Return the pair for a name that a client has sent: for the name itself, else a wildcard.

    A wildcard stands for exactly one label. Source: RFC 9525 section 6.3; RFC 6066 section 3.

    Args:
        numbers: see `by_name`.
    """
    name = server_name.lower().removesuffix(".")
    exact = numbers.get(name)
    if exact is not None:
        return exact
    label, dot, rest = name.partition(".")
    return numbers.get(f"*.{rest}") if label and dot else None
