"""What a cookie's name and shape tell, without any key and without asking anybody.

Nothing is guessed or tried: hashes of addresses are not searched, signatures are not attacked. Where a
format is open, the part that names a replica is compared by its hash, never shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.doctor.fingerprints.balancer_cookies import read_balancer_cookie
from limpet.doctor.fingerprints.session_cookies import read_session_cookie

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import CookieReading


def read_cookie(name: str, value: str, digest: Callable[[str], str]) -> CookieReading | None:
    """Return what a cookie tells; None if nothing.

    Args:
        digest: a salted hash, for everything that is kept of the value.
    """
    return read_balancer_cookie(name, value, digest) or read_session_cookie(name, value, digest)
