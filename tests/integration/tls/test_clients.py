"""TLS with clients: certificates by name, versions, certificates of clients, and what apps are told."""

import asyncio
import hashlib
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from tls_kit import TLS_1_2, TLS_1_3, ask, tls_listener

from limpet.config.certificates import listener_tls
from limpet.config.schema import ListenerTlsSettings
from limpet.proxy.tls.contexts import ServerContexts


async def serve(ground, *certificates, data=None, **settings):
    await ground.server("A")
    await ground.start(ground.group("A"), listeners=[tls_listener(*certificates, **settings)], **(data or {}))
    return ground.servers["A"]


def last_request(server):
    return next(request for request in reversed(server.requests) if b"/health" not in request)


def fields_of(server):
    lines = last_request(server).decode().split("\r\n")[1:-2]
    pairs = [line.split(": ", 1) for line in lines]
    return {name.lower(): value for name, value in pairs}


def test_the_scheme_is_told_and_the_cookie_is_secure(play, authority, clients):
    async def story(ground):
        server = await serve(ground, authority.issue("shop.example"), hsts_s=600)
        reader, writer = await clients.connect(ground.port)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
        status, found, body = await ask(reader, writer)
        assert (status, body) == (200, b"A")
        (cookie,) = found["set-cookie"]
        assert "; Secure" in cookie
        assert found["strict-transport-security"] == ["max-age=600"]
        for _ in range(3):  # the last of them by the fast lane
            status, found, _ = await ask(reader, writer, "/", f"Cookie: {cookie.split(';')[0]}")
            assert status == 200
            assert found["strict-transport-security"] == ["max-age=600"]
            told = fields_of(server)
            assert told["x-forwarded-proto"] == "https"
            assert told["x-forwarded-port"] == str(ground.port)
            assert told["forwarded"].endswith(";proto=https")
        writer.close()

    play(story)


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_certificates_are_chosen_by_name(play, authority, clients, version):
    async def story(ground):
        await serve(
            ground,
            authority.issue("first.example"),
            authority.issue("*.shop.example", "shop.example"),
            authority.issue("api.shop.example"),
        )
        cases = [
            ("first.example", "first.example"),
            ("shop.example", "*.shop.example"),
            ("WWW.shop.example", "*.shop.example"),
            ("api.shop.example", "api.shop.example"),
            ("a.b.shop.example", "first.example"),
            ("elsewhere.example", "first.example"),
            (None, "first.example"),
        ]
        for name, expected in cases:
            assert (await clients.shown(ground.port, name))[0] == expected
        context = authority.client(version=version)
        assert (await clients.get(ground.port, name="api.shop.example", context=context))[2] == b"A"

    play(story)


def test_strict_sni_refuses_other_names(play, authority, clients):
    async def story(ground):
        await serve(ground, authority.issue("shop.example"), strict_sni=True)
        assert (await clients.get(ground.port))[0] == 200
        for name in ("other.example", None):
            with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                await clients.shown(ground.port, name)
        status = (await ground.call("GET", "/status"))[1]
        assert status["handshakes"]["failed"] == {"unrecognized_name": 2}

    play(story)


def old_context(authority):
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_and_protocols(play, authority, clients):
    async def story(ground):
        await serve(ground, authority.issue("shop.example"), min_version="1.3")
        with pytest.raises(ssl.SSLError):
            await clients.get(ground.port, context=authority.client(version=TLS_1_2))
        ground.data["listeners"][0]["tls"]["min_version"] = "1.2"
        await ground.balancer.reload()
        assert (await clients.get(ground.port, context=authority.client(version=TLS_1_2)))[0] == 200
        with pytest.raises(ssl.SSLError):
            await clients.get(ground.port, context=old_context(authority))
        weak = authority.client(version=TLS_1_2)
        weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384")
        with pytest.raises(ssl.SSLError):
            await clients.get(ground.port, context=weak)
        context = authority.client()
        context.set_alpn_protocols(["spdy/1", "http/1.1"])
        _, writer = await clients.connect(ground.port, context=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()

    play(story)


def test_sessions_are_resumed_but_not_those_of_older_keys(play, authority, clients):
    async def story(ground):
        await serve(ground, authority.issue("shop.example"), authority.issue("b.example"))
        context = authority.client(version=TLS_1_2)

        def shake(session):
            # Blocking, because asyncio cannot hand a session in.
            plain = socket.create_connection(("127.0.0.1", ground.port))
            with context.wrap_socket(plain, server_hostname="shop.example", session=session) as tls:
                return tls.session, tls.session_reused

        async def connect(session=None):
            return await asyncio.to_thread(shake, session)

        session, _ = await connect()
        assert (await connect(session))[1]
        totals = await ground.balancer.plane.handshakes()
        assert (totals.done, totals.resumed) == (2, 1)
        authority.issue("shop.example")
        await ground.balancer.reload()  # a new certificate comes with new keys
        assert not (await connect(session))[1]

    play(story)


def test_the_keys_of_tickets_are_made_anew(authority):
    listener = ListenerTlsSettings.model_validate({"certificates": [authority.issue("shop.example")]})
    contexts = ServerContexts(listener_tls("tls", listener), ["http/1.1"], now_s=0)
    first = contexts.first(now_s=11 * 3600)
    assert contexts.first(now_s=0) is first
    second = contexts.first(now_s=13 * 3600)
    assert second is not first
    assert contexts.first(now_s=24 * 3600) is second


def test_clients_show_certificates(play, authority, clients):
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "Änn\r\nX-Evil: 1"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shop, Inc."),
        ]
    )
    pair = authority.issue("ann", subject=name)
    der = ssl.PEM_cert_to_DER_cert(Path(pair["certificate"]).read_text())

    async def story(ground):
        server = await serve(
            ground,
            authority.issue("shop.example"),
            client_auth="required",
            client_ca=str(authority.path),
        )
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await clients.get(ground.port)
        mine = authority.client(pair=pair)
        claim = [
            "X-Client-Cert-Subject: CN=root",
            "X_Client_Cert_Fingerprint: 00",
            "X-Client-Cert-Fingerprint: 0",
        ]
        assert (await clients.get(ground.port, context=mine, fields=claim))[0] == 200
        request = last_request(server)
        assert request.lower().count(b"client-cert") + request.lower().count(b"client_cert") == 2
        told = fields_of(server)
        assert told["x-client-cert-subject"] == "O=Shop\\, Inc.,CN=\\C3\\84nn\\0D\\0AX-Evil: 1"
        assert told["x-client-cert-fingerprint"] == hashlib.sha256(der).hexdigest()

        ground.data["listeners"][0]["tls"]["client_auth"] = "optional"
        await ground.balancer.reload()
        assert (await clients.get(ground.port, fields=claim))[0] == 200
        assert b"client" not in last_request(server).lower().replace(b"_", b"-").split(b"\r\n", 1)[1]
        failed = (await ground.balancer.plane.handshakes()).failed
        assert failed == {"peer_did_not_return_a_certificate": 1}

    play(story)


def test_a_certificate_of_another_authority_is_refused(play, authority, clients, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = type(authority)(tmp_path / "other", "stranger").issue("eve")

    async def story(ground):
        for how in ("required", "optional"):
            if ground.balancer is None:
                await serve(
                    ground, authority.issue("shop.example"), client_auth=how, client_ca=str(authority.path)
                )
            else:
                ground.data["listeners"][0]["tls"]["client_auth"] = how
                await ground.balancer.reload()
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await clients.get(ground.port, context=authority.client(pair=stranger))
        assert not any(b"GET /health" not in request for request in ground.servers["A"].requests)
        assert set((await ground.balancer.plane.handshakes()).failed) == {"certificate_verify_failed"}

    play(story)


PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n"


def test_the_proxy_protocol_comes_before_tls(play, authority, clients):
    async def story(ground):
        server = await serve(
            ground,
            authority.issue("shop.example"),
            proxy_protocol=True,
            data={"trusted_proxies": ["127.0.0.1"]},
        )
        assert (await clients.get(ground.port, before=PROXY))[0] == 200
        told = fields_of(server)
        assert (told["x-forwarded-for"], told["x-forwarded-port"]) == ("192.0.2.7", "443")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await clients.get(ground.port)
        ground.data["trusted_proxies"] = ["192.0.2.0/24"]
        await ground.balancer.reload()
        assert (await clients.get(ground.port, before=PROXY))[0] == 200
        assert fields_of(server)["x-forwarded-for"] == "127.0.0.1"
        assert (await ground.balancer.plane.handshakes()).failed == {"no_proxy_header": 1}

    play(story)
