"""What cookies tell without a key, on forms that the libraries themselves make where they are installed."""

from __future__ import annotations

import base64
import json

import pytest
from django.core import signing
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from limpet.doctor.evidence import CookieReading, CookieRole
from limpet.doctor.fingerprints import addresses, read_cookie

DJANGO = signing.TimestampSigner(key="x" * 50, fallback_keys=[])


def digest(value: str) -> str:
    return f"#{value}"


def read(name: str, value: str) -> CookieReading:
    found = read_cookie(name, value, digest)
    assert found is not None
    return found


def unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("1677787402.36895.0000", "10.1.1.100:8080"),
        ("vi20010112000000000000000000000030.20480", "[2001:112::30]:80"),
        ("rd5o00000000000000000000ffffc0000201o80", "192.0.2.1:80"),
        ("rd3o20010112000000000000000000000030o80", "[2001:112::30]:80"),
        ("!encryptedencrypted==", ""),
    ],
)
def test_big_ip(value: str, address: str) -> None:
    assert addresses.bigip(value) == address
    assert read("BIGipServerpool", value).product == "F5 BIG-IP"


def test_netscaler_and_envoy() -> None:
    port, address = 80 ^ 0x3630, 0x0A010164 ^ 0x03081E11
    assert addresses.netscaler(f"ffffffff{address:08x}45525d5f4f58455e445a4a423660"[:-4] + f"{port:04x}") == (
        "10.1.1.100:80"
    )
    assert addresses.envoy(base64.b64encode(b"1.2.3.4:80").decode()) == "1.2.3.4:80"
    assert addresses.envoy(base64.b64encode(b"\n\x0a1.2.3.4:80\x10\x05").decode()) == "1.2.3.4:80"
    assert addresses.envoy("nothing at all") == ""


@pytest.mark.parametrize(
    ("name", "value", "product", "is_comparable"),
    [
        ("AWSALB", "aGVsbG8gd29ybGQ", "AWS ALB", False),
        ("AWSALBCORS", "aGVsbG8gd29ybGQ", "AWS ALB", False),
        ("SERVERID", "web1", "HAProxy or Alibaba", True),
        ("route", "0123456789abcdef0123456789abcdef", "nginx", True),
        ("INGRESSCOOKIE", "1700000000.123.45.678901|abcdef", "ingress-nginx", False),
        ("ARRAffinity", "ab" * 32, "Azure App Service", True),
        ("lb", "ab" * 32, "Caddy", True),
        ("ROUTEID", ".node1", "Apache httpd", True),
        ("__VCAP_ID__", "3f0d9a1c-1111", "Cloud Foundry", True),
    ],
)
def test_balancers(name: str, value: str, product: str, is_comparable: bool) -> None:
    found = read(name, value)
    assert (found.product, found.role, found.is_comparable) == (product, CookieRole.BALANCER, is_comparable)
    assert bool(found.mark) == is_comparable


def test_haproxys_dates_do_not_make_another_server() -> None:
    assert read("SERVERID", "web1|ZaBcD").mark == read("SERVERID", "web1").mark


def test_flask_and_starlette_are_told_apart() -> None:
    app = Flask("x")
    app.secret_key = "key"
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    for data in ({"user": "ann"}, {"user": "ann" * 200, "cart": 1}):
        found = read("session", str(serializer.dumps(data)))
        assert (found.product, found.is_signed_data, found.data_keys) == ("Flask", True, tuple(sorted(data)))
        assert found.issued_at_s is not None
        assert found.issued_at_s > 1.6e9
    payload = base64.b64encode(json.dumps({"user": "ann"}).encode())
    found = read("session", TimestampSigner("key").sign(payload).decode())
    assert (found.product, found.data_keys) == ("Starlette", ("user",))


def test_django() -> None:
    found = read("sessionid", DJANGO.sign_object({"_auth_user_id": "1"}, compress=True))
    assert (found.product, found.is_signed_data, found.data_keys) == ("Django", True, ("_auth_user_id",))
    assert found.issued_at_s is not None
    assert found.issued_at_s > 1.6e9
    found = read("sessionid", "gp8i0ja3sd9oq5z4m2n6k7b1v0c3x4y5")
    assert (found.product, found.is_signed_data) == ("Django", False)


def test_limpets_sessions_are_not_its_balancers() -> None:
    value = "1." + "aB3_" * 30
    assert read("session", value).role is CookieRole.SESSION
    assert read("limpet", value).role is CookieRole.BALANCER


def test_hexadecimal_ids_are_not_djangos() -> None:
    assert read("sessionid", "0123456789abcdef0123456789abcdef").product == ""


def test_jwt() -> None:
    head, claims = {"alg": "HS256", "kid": "k1"}, {"iat": 1700000000, "exp": 1700003600, "sub": "ann"}
    value = ".".join([unpadded(json.dumps(head).encode()), unpadded(json.dumps(claims).encode()), "c2ln"])
    found = read("access_token", value)
    assert (found.product, found.key_id, found.issued_at_s, found.expires_at_s) == (
        "JWT",
        "#k1",
        1700000000.0,
        1700003600.0,
    )
    assert found.data_keys == ("exp", "iat", "sub")


def test_asp_net_core_shows_its_keys_id() -> None:
    value = unpadded(bytes.fromhex("09f0c9f0") + bytes(range(16)) + b"x" * 60)
    assert value.startswith("CfDJ8")
    found = read(".AspNetCore.Antiforgery.abc", value)
    assert (found.role, found.key_id) == (CookieRole.OTHER, "#" + bytes(range(16)).hex())
    assert read(".AspNetCore.Cookies", value).is_signed_data


@pytest.mark.parametrize(
    ("name", "value", "product"),
    [
        ("connect.sid", "s%3Aabcdefghijklmnop.QRSTUVWXYZ0123456789abcdef", "Express"),
        ("PHPSESSID", "0123456789abcdef01234567", "PHP"),
        ("JSESSIONID", "0123456789ABCDEF01234567", "Java servlet"),
        ("my_session_id", "0123456789abcdef01234567", ""),
    ],
)
def test_opaque_ids(name: str, value: str, product: str) -> None:
    found = read(name, value)
    assert (found.product, found.role, found.is_signed_data) == (product, CookieRole.SESSION, False)


OTHERS = [("theme", "dark"), ("lang", "en"), ("session", "1"), ("x", "a.b.c"), ("route", "home")]
NONSENSE = ["." * 50, "eyJ" * 20, ".eJw" + "A" * 5000 + ".abcd.abcdefghijklmnopqrstuvwxyzA", "\x00" * 30]


@pytest.mark.parametrize(("name", "value"), OTHERS)
def test_others_tell_nothing(name: str, value: str) -> None:
    assert read_cookie(name, value, digest) is None


@pytest.mark.parametrize("value", NONSENSE)
def test_nonsense_is_survived(value: str) -> None:
    read_cookie("session", value, digest)
