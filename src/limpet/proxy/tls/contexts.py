"""OpenSSL's contexts, made of what the configuration says.

A server's context holds the keys of its session tickets, which OpenSSL makes when the context
is made and never changes. So contexts are made anew twice a day: whoever steals a key can read
half a day at most of what resumed sessions said, and a client makes one full handshake more.
"""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from typing import TYPE_CHECKING

from limpet.core.tls import ClientAuth, by_name, find_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from limpet.core.tls import KeyPair, ListenerTls, TargetTls

_TICKET_KEYS_S = 12 * 3600
#: Of TLS 1.2; those of 1.3 are all good. Source: Mozilla's "intermediate" list, without DHE.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    ClientAuth.OFF: ssl.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.CERT_REQUIRED,
}


class ServerContexts:
    """The contexts of a listener, one for each certificate.

    Args:
        protocols: that are spoken within TLS (ALPN), the best first.

    Raises:
        ssl.SSLError: OpenSSL does not take a certificate or a key.
    """

    def __init__(self, settings: ListenerTls, protocols: Sequence[str], now_s: float) -> None:
        self._settings = settings
        self._protocols = list(protocols)
        self._numbers = by_name(settings.pairs)
        self._made_s = now_s
        self._contexts = self._make()

    def first(self, now_s: float) -> ssl.SSLContext:
        """Return the context that a new connection begins with; it turns to others by itself.

        Args:
            now_s: monotonic.
        """
        if now_s - self._made_s > _TICKET_KEYS_S:
            self._made_s = now_s
            self._contexts = self._make()
        return self._contexts[0]

    def _make(self) -> list[ssl.SSLContext]:
        contexts = [_server_context(self._settings, pair, self._protocols) for pair in self._settings.pairs]
        if len(contexts) > 1 or self._settings.is_strict:

            def choose(tls: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> int | None:
                number = find_pair(self._numbers, server_name) if server_name is not None else None
                if number is not None:
                    tls.context = contexts[number]
                elif self._settings.is_strict:
                    return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
                return None

            contexts[0].sni_callback = choose
        return contexts


def _server_context(settings: ListenerTls, pair: KeyPair, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(protocols)
    _load(context, pair)
    context.verify_mode = _VERIFY[settings.client_auth]
    if settings.client_ca:
        context.load_verify_locations(cadata=settings.client_ca.decode())
    return context


@functools.lru_cache(maxsize=64)
def client_context(settings: TargetTls) -> ssl.SSLContext:
    """Return the context for connections to targets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    if not settings.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca:
        context.load_verify_locations(cadata=settings.ca.decode())
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.pair is not None:
        _load(context, settings.pair)
    return context


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    # OpenSSL's call takes files only: these are in memory, and nobody else can open them.
    with _file(pair.chain) as chain, _file(pair.key) as key:
        context.load_cert_chain(chain, key)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    number = os.memfd_create("limpet", os.MFD_CLOEXEC)
    try:
        os.write(number, content)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)
