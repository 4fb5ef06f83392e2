"""limpet and its peers with TLS: one ECDSA certificate, TLS 1.2 and 1.3, the same targets, one core.

limpet and HAProxy keep clients by a cookie of theirs; nginx of Debian does not.
"""

from __future__ import annotations

import datetime as dt
import ssl
import time
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lab import machine
from lab.proxies import WORKERS, Proxy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.processes import Lab, Process

_START_S = 20.0
_CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"

_LIMPET_TOML = """
workers = {workers}
[[listeners]]
address = "127.0.0.1:{port}"
[listeners.tls]
certificates = [{{ certificate = "{chain}", key = "{key}" }}]
[target_groups.web]
targets = [{targets}]
health_check.enabled = false
"""

_HAPROXY_CFG = """
global
  nbthread 1
  ssl-default-bind-ciphers {ciphers}
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  http-reuse always
  option forwardfor
frontend clients
  bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1
  default_backend targets
backend targets
  balance roundrobin
  cookie STICKY insert indirect nocache httponly
  {targets}
"""

_NGINX_CONF = """
worker_processes 1; daemon off; pid {directory}/nginx-tls.pid; error_log stderr; user root;
events {{ worker_connections 4000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {directory}/bodies; proxy_temp_path {directory}/answers;
  upstream targets {{ {targets} keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {chain}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers {ciphers}; ssl_session_cache none;
    location / {{
      proxy_pass http://targets; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


def write_certificate(lab: Lab) -> tuple[Path, Path, Path]:
    """Return the files of a certificate for localhost, its key, and both in one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = certificate.public_bytes(Encoding.PEM).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return (
        lab.write("chain.pem", chain),
        lab.write("key.pem", private),
        lab.write("both.pem", chain + private),
    )


def start_tls_proxy(
    lab: Lab, name: str, targets: Sequence[int], files: tuple[Path, Path, Path], nginx: str
) -> Proxy:
    """Start a proxy that speaks TLS in front of targets, without a log, and wait until it shakes hands."""
    [port] = machine.free_ports(1)
    chain, key, both = files
    places = [f"127.0.0.1:{target}" for target in targets]
    if name in WORKERS:
        listed = ", ".join(f'"{place}"' for place in places)
        text = _LIMPET_TOML.format(port=port, chain=chain, key=key, targets=listed, workers=WORKERS[name])
        path = lab.write(f"{name}.toml", text)
        argv = [machine.limpet_command(), "up", str(path), "--access-log", "off", "--admin", "127.0.0.1:0"]
    elif name == "haproxy":
        listed = "\n  ".join(f"server t{i} {place} cookie t{i}" for i, place in enumerate(places))
        text = _HAPROXY_CFG.format(port=port, ciphers=_CIPHERS, both=both, targets=listed)
        argv = [machine.tool("haproxy"), "-db", "-f", str(lab.write("tls.cfg", text))]
    else:
        listed = " ".join(f"server {place};" for place in places)
        text = _NGINX_CONF.format(
            port=port, ciphers=_CIPHERS, chain=chain, key=key, targets=listed, directory=lab.directory
        )
        argv = [nginx, "-p", str(lab.directory), "-c", str(lab.write("tls.conf", text))]
    process = lab.start(f"{name}-tls", argv, is_proxy=True)
    _wait(process, port, chain)
    return Proxy(name, port, process, None)


def _wait(process: Process, port: int, chain: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            ssl.get_server_certificate(("127.0.0.1", port), timeout=2)
        except OSError:
            time.sleep(0.05)
        else:
            return
    process.fail(f"did not start with {chain}")
