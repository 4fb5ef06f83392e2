"""The verdict of others on a running limpet: testssl.sh, openssl and curl."""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from authority import Authority

SAFE = {"OK", "INFO"}


class Echo(BaseHTTPRequestHandler):
    """Answers with the request's header fields."""

    def do_GET(self):
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def echo():
    """Return the port of a server that tells what it was told."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory, limpet, echo):
    """Serve by https; returns the folder, and HOST:PORT."""
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
        hsts_s = 600

        [[listeners.rules]]
        path = "/who"
        fixed_response = {{ status = 200, body = "limpet" }}

        [target_groups.web]
        targets = ["127.0.0.1:{echo}"]
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


@pytest.mark.parametrize("option", ["--http2", "--http1.1"])
def test_targets_are_told_of_the_client_in_every_version(site, option):
    folder, place = site
    claim = ["--header", "X-Client-Cert-Subject: CN=root", "--header", "X-Forwarded-Proto: http"]
    shown = ["--cert", str(folder / "ann.pem"), "--key", str(folder / "ann.key")]
    done = curl(folder, option, "--include", *claim, *shown, f"https://{place}/", f"https://{place}/")
    assert done.stdout.lower().count("strict-transport-security: max-age=600") == 2, done.stdout
    told = [
        line for line in done.stdout.splitlines() if line.lower().startswith(("x-client", "x-forwarded-p"))
    ]
    assert told.count("X-Client-Cert-Subject: CN=ann") == 2
    assert told.count("X-Forwarded-Proto: https") == 2
    assert len([line for line in told if line.startswith("X-Client-Cert-Fingerprint: ")]) == 2
    assert "CN=root" not in done.stdout
    done = curl(folder, option, *claim, f"https://{place}/")
    assert "X-Client-Cert" not in done.stdout


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
