"""limpet and its peers, each configured for the same job: five targets, a sticky cookie, one core.

HAProxy and nginx are given what they need for that job and nothing more: they check no
health, seal no ticket and add no request id. Whatever that saves is to their advantage.
"""

from __future__ import annotations

import getpass
import mmap
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.processes import Lab, Process

#: What every other proxy is compared with.
ANCHOR = "haproxy"
TARGETS = 5
#: Workers of each limpet.
WORKERS = {"limpet": 1, "limpet-2-workers": 2}

_COLLECTOR = Path(__file__).with_name("collector.py")

_TARGETS_CONF = """
worker_processes 1; daemon off; pid {directory}/{name}.pid; error_log stderr; user {user};
worker_rlimit_nofile {open_files};
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
  server {{ {listens} location / {{ default_type text/html; {more} return 200 "{page}"; }} }}
}}
"""

_HAPROXY_CFG = """
global
  nbthread 1
  maxconn {connections}
  no strict-limits
  {log_to}
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  http-reuse always
  option forwardfor
  {log_what}
frontend clients
  bind 127.0.0.1:{port}
  default_backend targets
backend targets
  balance roundrobin
  cookie STICKY insert indirect nocache httponly
  {servers}
"""

_NGINX_CONF = """
worker_processes 1; daemon off; pid {directory}/{name}.pid; error_log stderr; user {user};
worker_rlimit_nofile {open_files};
events {{ worker_connections {connections}; }}
http {{
  access_log {access_log}; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {directory}/{name}.bodies; proxy_temp_path {directory}/{name}.answers;
  client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
  {userid}
  upstream targets {{ {stickiness} {servers} keepalive 256; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://targets; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""
# (userid, stickiness): an nginx without a sticky cookie can hash the cookie of its userid module.
_NGINX_STICKINESS = (
    ("", "sticky cookie STICKY path=/ httponly;"),
    ("userid on; userid_name STICKY; userid_path /;", "hash $uid_got$uid_set consistent;"),
)


class LogFile:
    """An access log on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = 0

    def lines(self) -> int:
        """Return how many lines were written so far."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            self._lines += sum(chunk.count(b"\n") for chunk in iter(lambda: log.read(1 << 20), b""))
            self._offset = log.tell()
        return self._lines


class LogCounter:
    """The number of datagrams that a collector process took."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    def lines(self) -> int:
        """Return how many lines arrived so far."""
        return int.from_bytes(self._map[:8], "little")


@dataclass(frozen=True)
class Proxy:
    """A proxy that answers requests.

    Attributes:
        name: "haproxy", "nginx", or one of `WORKERS`.
        port: of the loopback address.
        process: the proxy with all its processes.
        log: where its access log goes; None without one.
    """

    name: str
    port: int
    process: Process
    log: LogFile | LogCounter | None


def start_targets(lab: Lab, *, is_varied: bool = False) -> list[int]:
    """Start the target servers and return their ports.

    Args:
        is_varied: no two answers have the same head.
    """
    ports = machine.free_ports(TARGETS)
    name = "targets-varied" if is_varied else "targets"
    conf = lab.write(
        f"{name}.conf",
        _TARGETS_CONF.format(
            listens=" ".join(f"listen 127.0.0.1:{port};" for port in ports),
            more="add_header ETag $request_id;" if is_varied else "",
            page="x" * 300,
            name=name,
            **_nginx_limits(lab),
        ),
    )
    process = lab.start(name, [machine.tool("nginx"), "-p", str(lab.directory), "-c", str(conf)])
    for port in ports:
        process.wait_until_it_answers(port)
    return ports


def start_proxy(lab: Lab, name: str, targets: Sequence[int], *, logs: bool, nginx: str) -> Proxy:
    """Start a proxy in front of targets, given by their ports, and wait until it answers.

    Args:
        logs: whether each request is logged.
        nginx: path of the nginx to be measured.
    """
    label = f"{name}-{'logs' if logs else 'quiet'}-{targets[0]}"
    [port] = machine.free_ports(1)
    argv: list[str]
    log: LogFile | LogCounter | None
    if name in WORKERS:
        argv, log = _limpet(lab, label, port, targets, logs)
        argv += ["--workers", str(WORKERS[name])]
    elif name == "haproxy":
        argv, log = _haproxy(lab, label, port, targets, logs)
    else:
        argv, log = _nginx(lab, label, port, targets, logs, nginx)
    process = lab.start(label, argv, is_proxy=True)
    process.wait_until_it_answers(port)
    return Proxy(name, port, process, log)


def _limpet(
    lab: Lab, label: str, port: int, targets: Sequence[int], logs: bool
) -> tuple[list[str], LogFile | None]:
    argv = [machine.limpet_command(), "up", "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0"]
    for target in targets:
        argv += ["--target", f"http://127.0.0.1:{target}"]
    path = lab.directory / f"{label}.log"
    argv += ["--access-log", str(path) if logs else "off"]
    return argv, LogFile(path) if logs else None


def _haproxy(
    lab: Lab, label: str, port: int, targets: Sequence[int], logs: bool
) -> tuple[list[str], LogCounter | None]:
    counter = lab.directory / f"{label}.count"
    log_port = _start_collector(lab, label, counter) if logs else 0
    cfg = lab.write(
        f"{label}.cfg",
        _HAPROXY_CFG.format(
            port=port,
            connections=lab.open_files,
            log_to=f"log 127.0.0.1:{log_port} local0" if logs else "",
            log_what="log global\n  option httplog" if logs else "",
            servers="\n  ".join(
                f"server t{i} 127.0.0.1:{target} cookie t{i}" for i, target in enumerate(targets)
            ),
        ),
    )
    return [machine.tool("haproxy"), "-db", "-f", str(cfg)], LogCounter(counter) if logs else None


def _start_collector(lab: Lab, label: str, counter: Path) -> int:
    [port] = machine.free_ports(1)
    process = lab.start(f"{label}-collector", [sys.executable, str(_COLLECTOR), str(port), str(counter)])
    process.wait_for_file(counter)
    return port


def _nginx(
    lab: Lab, label: str, port: int, targets: Sequence[int], logs: bool, nginx: str
) -> tuple[list[str], LogFile | None]:
    path = lab.directory / f"{label}.log"
    complaint = ""
    for userid, stickiness in _NGINX_STICKINESS:
        conf = lab.write(
            f"{label}.conf",
            _NGINX_CONF.format(
                name=label,
                port=port,
                userid=userid,
                stickiness=stickiness,
                access_log=path if logs else "off",
                servers=" ".join(f"server 127.0.0.1:{target};" for target in targets),
                **_nginx_limits(lab),
            ),
        )
        argv = [nginx, "-p", str(lab.directory), "-c", str(conf)]
        test = subprocess.run([*argv, "-t"], capture_output=True, text=True, check=False, timeout=20)
        if test.returncode == 0:
            return argv, LogFile(path) if logs else None
        complaint = test.stderr
    sys.exit(f"{nginx} does not take its configuration:\n{complaint}")


def _nginx_limits(lab: Lab) -> dict[str, object]:
    return {
        "directory": lab.directory,
        "user": getpass.getuser(),
        "open_files": lab.open_files,
        "connections": lab.open_files - 100,
    }
