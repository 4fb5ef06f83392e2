"""What a target is told of a client's certificate."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    import ssl


def certificate_fields(tls: ssl.SSLObject) -> bytes:
    """Return the field lines that tell a target of the client's certificate; b"" if it has none."""
    certificate = tls.getpeercert(binary_form=True)
    return _fields_of(certificate) if certificate is not None else b""


@functools.lru_cache(maxsize=256)  # a client has many connections, and each stream of HTTP/2 asks
def _fields_of(certificate: bytes) -> bytes:
    subject = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    return b"X-Client-Cert-Subject: %b\r\nX-Client-Cert-Fingerprint: %b\r\n" % (
        _printable(subject),
        hashlib.sha256(certificate).hexdigest().encode(),
    )


def _printable(text: str) -> bytes:
    # RFC 4514 section 2.4 lets any byte be written as \XX; a field value may not have all of them.
    return b"".join([b"%c" % byte if 0x20 <= byte < 0x7F else b"\\%02X" % byte for byte in text.encode()])
