"""The verdict of others on a running limpet: testssl.sh, openssl and curl."""

import json
import os
import subprocess

import pytest
from authority import Authority

SAFE = {"OK", "INFO"}


@pytest.fixture(scope="module")
def site(tmp_path_factory, limpet):
    """Serve an app of its own by https; returns the folder, and HOST:PORT."""
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder)
    pair = authority.issue("localhost", "127.0.0.1", file="site")
    authority.issue("ann", file="ann")
    (folder / "limpet.toml").write_text(
        f"""
        [[listeners]]
        address = "127.0.0.1:0"
        [listeners.tls]
        certificates = [{{ certificate = "{pair["certificate"]}", key = "{pair["key"]}" }}]
        client_auth = "optional"
        client_ca = "{authority.path}"

        [[listeners.rules]]
        path = "/who"
        fixed_response = {{ status = 200, body = "limpet" }}

        [target_groups.web]
        targets = ["127.0.0.1:1"]
        health_check.enabled = false
        """
    )
    running = limpet("up", "limpet.toml", folder=folder, listen=None)
    return folder, running.url.removeprefix("https://").replace("127.0.0.1", "localhost")


def test_testssl_finds_nothing_wrong(site):
    folder, place = site
    report = folder / "testssl.json"
    # Protocols, ciphers, Heartbleed, CCS, Ticketbleed, ROBOT, renegotiation, CRIME, fallback: what
    # could be wrong where the suites are good. All that it knows (-U) takes a minute and says no more.
    checks = [
        "protocols",
        "std",
        "heartbleed",
        "ccs",
        "ticketbleed",
        "robot",
        "renegotiation",
        "crime",
        "tls-fallback",
    ]
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none"]
    command += [f"--{check}" for check in checks]
    done = subprocess.run(
        [*command, "--add-ca", str(folder / "ca.pem"), "--jsonfile", str(report), place],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    assert report.exists(), done.stdout + done.stderr
    found = {each["id"]: each for each in json.loads(report.read_text())}
    assert {"TLS1_2", "TLS1_3", "heartbleed", "ROBOT", "secure_client_renego"} <= set(found), done.stdout
    # What has no address is about the scanner's own OpenSSL.
    wrong = [each for each in found.values() if each["severity"] not in SAFE and each["ip"] != "/"]
    assert wrong == []


def curl(folder, *arguments):
    command = ["curl", "--silent", "--show-error", "--cacert", str(folder / "ca.pem"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl_is_served(site, option, version):
    folder, place = site
    done = curl(
        folder, option, "--write-out", " %{http_version} %{ssl_verify_result}", f"https://{place}/who"
    )
    assert done.stdout == f"limpet {version} 0", done.stderr
    done = curl(folder, option, "--tls-max", "1.1", f"https://{place}/who")
    assert done.returncode == 35  # no common version


def openssl(place, *arguments, sent=b""):
    command = ["openssl", "s_client", "-connect", place, "-servername", "localhost", *arguments]
    return subprocess.run(command, input=sent, capture_output=True, timeout=30, check=False).stdout.decode()


def test_openssl_agrees(site):
    folder, place = site
    trusting = ["-CAfile", str(folder / "ca.pem"), "-verify_return_error"]
    told = openssl(place, *trusting, "-alpn", "h2,http/1.1")
    assert "ALPN protocol: h2" in told
    assert "Verification: OK" in told
    assert "Compression: NONE" in told
    assert "TLSv1.3" in told
    assert "Max Early Data: 0" in told or "Early data was not sent" in told
    told = openssl(place, *trusting, "-tls1_2", "-sess_out", str(folder / "session"))
    assert "New, TLSv1.2" in told
    told = openssl(place, *trusting, "-tls1_2", "-sess_in", str(folder / "session"))
    assert "Reused, TLSv1.2" in told
    shown = ["-cert", str(folder / "ann.pem"), "-key", str(folder / "ann.key")]
    told = openssl(place, *trusting, *shown)
    assert "Verification: OK" in told
