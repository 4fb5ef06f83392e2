"""Starts the real servers on Unix sockets and ends them again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
START_S = 20.0

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_body_buffer_size 1m; client_body_in_single_buffer on; large_client_header_buffers 8 32k;
  log_format echo escape=json '{{"method":"$request_method","path":"$request_uri",'
    '"body":"$request_body","id":"$http_x_request_id","a":"$http_x_a","b":"$http_x_b"}}';
  server {{
    listen unix:{folder}/nginx;
    access_log syslog:server=unix:{folder}/log,nohostname,tag=echo echo;
    # `$request_body` is there only for a location that passes it on.
    location / {{ proxy_pass http://unix:{folder}/inner:/; }}
  }}
  server {{ listen unix:{folder}/inner; location / {{ return 200 "ok"; }} }}
}}
"""


def _commands(folder: Path) -> dict[str, list[str]]:
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder))
    python = [sys.executable, "-m"]
    uvicorn = [*python, "uvicorn", "echo_apps:asgi", "--log-level", "warning", "--no-access-log"]
    gunicorn = [*python, "gunicorn", "echo_apps:wsgi", "--log-level", "warning", "--keep-alive", "60"]
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    return {
        "gunicorn": [*gunicorn, "-k", "gthread", "--threads", "2", "-b", f"unix:{folder}/gunicorn"],
        "uvicorn-h11": [*uvicorn, "--http", "h11", "--uds", f"{folder}/uvicorn-h11"],
        "uvicorn-httptools": [*uvicorn, "--http", "httptools", "--uds", f"{folder}/uvicorn-httptools"],
        "nginx": [nginx, "-p", str(folder), "-c", str(config)],
        "node": ["node", str(HERE / "echo.js"), f"{folder}/node"],
    }


NAMES = ("gunicorn", "uvicorn-h11", "uvicorn-httptools", "nginx", "node")


@contextlib.contextmanager
def echo_servers(folder: Path) -> Iterator[socket.socket]:
    """Run every server on `folder`/NAME; gives the socket to which nginx logs what it read."""
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(str(folder / "log"))
    log.settimeout(START_S)
    environ = {**os.environ, "PYTHONPATH": str(HERE)}
    processes = [subprocess.Popen(command, env=environ, cwd=HERE) for command in _commands(folder).values()]
    try:
        for name, process in zip(NAMES, processes, strict=True):
            await_socket(folder / name, process)
        yield log
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log.close()


def await_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server listens on its socket."""
    deadline_s = time.monotonic() + START_S
    while True:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return
        assert process.poll() is None, f"{path.name} has ended: {process.args}"
        assert time.monotonic() < deadline_s, f"{path.name} does not listen"
        time.sleep(0.02)
