"""Mistakes in certificates and keys: all at once, before anything changes."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from limpet.config.load import load_data
from limpet.errors import ConfigError

GROUPS = {"web": {"targets": ["127.0.0.1:1"]}}


def mistakes(listeners, groups=None):
    with pytest.raises(ConfigError) as caught:
        load_data({"listeners": listeners, "target_groups": groups or GROUPS})
    return caught.value.problems


def tls(*pairs, **more):
    return [{"address": "127.0.0.1:443", "tls": {"certificates": list(pairs), **more}}]


def test_all_mistakes_are_told_at_once(authority, tmp_path):
    good, other = authority.issue("a.example"), authority.issue("b.example")
    nameless = authority.issue("c.example", has_names=False)
    (tmp_path / "empty").write_text("")
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    (tmp_path / "locked").write_bytes(locked)
    pairs = [
        {"certificate": f"{tmp_path}/none.pem", "key": f"{tmp_path}/none.key"},
        {"certificate": good["certificate"], "key": other["key"]},
        nameless,
        {"certificate": f"{tmp_path}/empty", "key": good["certificate"]},
        {"certificate": good["certificate"], "key": f"{tmp_path}/locked"},
    ]
    found = mistakes(tls(*pairs, client_auth="required"))
    path = "listeners.0.tls.certificates"
    assert found == [
        (
            f"{path}.0.certificate: '{tmp_path}/none.pem' cannot be read (No such file or directory); "
            "check the path and its rights"
        ),
        (
            f"{path}.0.key: '{tmp_path}/none.key' cannot be read (No such file or directory); "
            "check the path and its rights"
        ),
        (
            f"{path}.1.key: {other['key']!r} is not the key of {good['certificate']!r}; "
            "name the two that were made together, the certificate first in its file"
        ),
        (
            f"{path}.2.certificate: {nameless['certificate']!r} is for no name (no subjectAltName), and no "
            "client would accept it; make one for your host names"
        ),
        (
            f"{path}.3.certificate: '{tmp_path}/empty' holds no certificate in PEM; "
            "name the file with '-----BEGIN CERTIFICATE-----'"
        ),
        f"{path}.3.key: {good['certificate']!r} holds no private key in PEM; name the right file",
        (
            f"{path}.4.key: '{tmp_path}/locked' is encrypted; "
            "write it without a passphrase, readable by limpet alone"
        ),
        "listeners.0.tls.client_ca: is missing; name the file of those who vouch for clients",
    ]


def test_a_key_that_openssl_finds_too_weak_is_a_mistake(authority, tmp_path):
    key = rsa.generate_private_key(65537, 1024)
    chain, key_bytes = authority.make("a.example", key=key)
    (tmp_path / "weak.pem").write_bytes(chain)
    (tmp_path / "weak.key").write_bytes(key_bytes)
    (problem,) = mistakes(tls({"certificate": f"{tmp_path}/weak.pem", "key": f"{tmp_path}/weak.key"}))
    assert "OpenSSL does not take" in problem
    assert "key too small" in problem


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"redirect_to_https": True},
            "listeners.1.https_port: there is no TLS listener with a port; write the port that clients know",
        ),
        (
            {"https_port": 443},
            "listeners.1.https_port: means nothing without redirect_to_https = true; add it",
        ),
        (
            {"redirect_to_https": True, "https_port": 443, "acme_webroot": "/none"},
            "listeners.1.acme_webroot: '/none' is no folder; make it",
        ),
    ],
)
def test_redirects(more, line):
    listeners = [{"address": "127.0.0.1:8080"}, {"address": "127.0.0.1:80", **more}]
    assert mistakes(listeners) == [line]


def test_targets(authority, tmp_path):
    pair = authority.issue("limpet")
    groups = {
        "plain": {"targets": ["127.0.0.1:1"], "tls": {"verify": False}},
        "half": {"targets": ["https://127.0.0.1:1"], "tls": {"certificate": pair["certificate"]}},
        "both": {"targets": ["https://127.0.0.1:2"], "tls": {"verify": False, "ca": str(authority.path)}},
        "none": {"targets": ["https://127.0.0.1:3"], "tls": {"ca": f"{tmp_path}/none"}},
    }
    found = mistakes([{"address": "127.0.0.1:80", "target_group": "plain"}], groups)
    assert found == [
        "target_groups.plain.tls: no target has an https:// address; write https:// before them",
        "target_groups.half.tls.key: is missing; name the file, or remove the other one",
        "target_groups.both.tls.ca: is not used with verify = false; remove one of the two",
        (
            f"target_groups.none.tls.ca: '{tmp_path}/none' cannot be read (No such file or directory); "
            "check the path and its rights"
        ),
    ]


def test_the_command_line_checks(run_limpet, authority, tmp_path):
    pair = authority.issue("127.0.0.1", days=2, began_days=80)
    config = tmp_path / "limpet.toml"
    text = f"""
        [[listeners]]
        address = "127.0.0.1:0"
        [listeners.tls]
        certificates = [{{ certificate = "{pair["certificate"]}", key = "{pair["key"]}" }}]
        [target_groups.web]
        targets = ["127.0.0.1:1"]
    """
    config.write_text(text)
    checked = run_limpet("up", str(config), "--check")
    assert checked.returncode == 0
    assert "no mistakes" in checked.stdout
    assert "warning: the certificate for 127.0.0.1, or one that vouches for it, expires at" in checked.stderr

    Path(pair["key"]).write_text("")
    checked = run_limpet("up", str(config), "--check")
    assert checked.returncode == 2
    assert "listeners.0.tls.certificates.0.key: " in checked.stderr
