"""Certificates and keys, read from their files and checked.

A file is read once, and what was read is what is used: a half-written pair is a mistake like
any other, and never loaded.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from limpet.core.tls import ClientAuth, KeyPair, ListenerTls, TargetTls
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from limpet.config.schema import ListenerTlsSettings, Settings, TargetTlsSettings

_MAX_FILE_BYTES = 1 << 20


def listener_tls(path: str, settings: ListenerTlsSettings) -> ListenerTls:
    """Return a listener's TLS, its files read.

    Args:
        path: of the settings, for mistakes.

    Raises:
        ConfigError: with every mistake.
    """
    found: list[str] = []
    pairs = []
    for index, files in enumerate(settings.certificates):
        place = f"{path}.certificates.{index}"
        pair = _pair(found, f"{place}.certificate", files.certificate, f"{place}.key", files.key)
        if pair is not None and not pair.names:
            found.append(
                f"{place}.certificate: {str(files.certificate)!r} is for no name (no subjectAltName), and no "
                "client would accept it; make one for your host names"
            )
        elif pair is not None:
            pairs.append(pair)
    if settings.client_auth != "off" and settings.client_ca is None:
        found.append(f"{path}.client_ca: is missing; name the file of those who vouch for clients")
    if settings.client_auth == "off" and settings.client_ca is not None:
        found.append(f"{path}.client_auth: is missing; write 'required' or 'optional', or remove client_ca")
    client_ca = _authorities(found, f"{path}.client_ca", settings.client_ca)
    if found:
        raise ConfigError(found)
    return ListenerTls(
        pairs=tuple(pairs),
        min_version=settings.min_version,
        is_strict=settings.strict_sni,
        client_auth=ClientAuth(settings.client_auth),
        client_ca=client_ca,
        hsts_s=settings.hsts_s,
    )


def target_tls(path: str, settings: TargetTlsSettings) -> TargetTls:
    """Return how targets are spoken to, its files read.

    Args:
        path: of the settings, for mistakes.

    Raises:
        ConfigError: with every mistake.
    """
    found: list[str] = []
    pair = None
    if settings.certificate is not None and settings.key is not None:
        pair = _pair(found, f"{path}.certificate", settings.certificate, f"{path}.key", settings.key)
    elif settings.certificate is not None or settings.key is not None:
        missing = "key" if settings.key is None else "certificate"
        found.append(f"{path}.{missing}: is missing; name the file, or remove the other one")
    if not settings.verify and settings.ca is not None:
        found.append(f"{path}.ca: is not used with verify = false; remove one of the two")
    ca = _authorities(found, f"{path}.ca", settings.ca)
    if found:
        raise ConfigError(found)
    return TargetTls(ca=ca, server_name=settings.server_name or "", pair=pair, is_verified=settings.verify)


def files(settings: Settings) -> list[Path]:
    """Return the files that certificates, keys and authorities are read from."""
    found: list[Path | None] = []
    for listener in settings.listeners:
        if listener.tls is not None:
            found += [path for pair in listener.tls.certificates for path in (pair.certificate, pair.key)]
            found.append(listener.tls.client_ca)
    for group in settings.target_groups.values():
        found += [group.tls.ca, group.tls.certificate, group.tls.key]
    return list(dict.fromkeys(path for path in found if path is not None))


def _pair(
    found: list[str], certificate_path: str, certificate: Path, key_path: str, key: Path
) -> KeyPair | None:
    # Appends every mistake to `found`.
    chain = _read(found, certificate_path, certificate)
    key_bytes = _read(found, key_path, key)
    leaf = None
    if chain is not None:
        try:
            certificates = x509.load_pem_x509_certificates(chain)
            leaf = certificates[0]
        except ValueError:
            found.append(
                f"{certificate_path}: {str(certificate)!r} holds no certificate in PEM; "
                "name the file with '-----BEGIN CERTIFICATE-----'"
            )
    public = _public_key(found, key_path, key, key_bytes) if key_bytes is not None else None
    if leaf is None or public is None or chain is None or key_bytes is None:
        return None
    if leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public:
        found.append(
            f"{key_path}: {str(key)!r} is not the key of {str(certificate)!r}; "
            "name the two that were made together, the certificate first in its file"
        )
        return None
    problem = _openssl_problem(certificate, key)
    if problem is not None:
        found.append(
            f"{certificate_path}: OpenSSL does not take {str(certificate)!r} ({problem}); replace it"
        )
        return None
    return KeyPair(
        chain=chain,
        key=key_bytes,
        names=_names(leaf),
        not_before_s=leaf.not_valid_before_utc.timestamp(),
        not_after_s=min(each.not_valid_after_utc.timestamp() for each in certificates),
    )


def _public_key(found: list[str], path: str, file: Path, data: bytes) -> bytes | None:
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        found.append(
            f"{path}: {str(file)!r} is encrypted; write it without a passphrase, readable by limpet alone"
        )
    except (ValueError, UnsupportedAlgorithm):
        found.append(f"{path}: {str(file)!r} holds no private key in PEM; name the right file")
    else:
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return None


def _openssl_problem(certificate: Path, key: Path) -> str | None:
    # Such as a key that is too short for OpenSSL's security level.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        return (getattr(error, "reason", None) or str(error)).lower().replace("_", " ")
    return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return (*hosts, *addresses)


def _authorities(found: list[str], path: str, file: Path | None) -> bytes:
    data = _read(found, path, file) if file is not None else None
    if data is None:
        return b""
    try:
        certificates = x509.load_pem_x509_certificates(data)
    except ValueError:
        found.append(f"{path}: {str(file)!r} holds no certificate in PEM; name the right file")
        return b""
    return b"".join([each.public_bytes(Encoding.PEM) for each in certificates])


def _read(found: list[str], path: str, file: Path) -> bytes | None:
    try:
        with file.open("rb") as opened:
            return opened.read(_MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        found.append(f"{path}: {str(file)!r} cannot be read ({reason}); check the path and its rights")
        return None
