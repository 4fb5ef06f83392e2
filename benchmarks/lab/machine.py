"""The machine that is measured on: its cores, its tools, and the facts that belong beside every figure."""

from __future__ import annotations

import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
from pathlib import Path

#: The Debian package of each tool.
PACKAGES = {"haproxy": "haproxy", "nginx": "nginx", "wrk": "wrk", "taskset": "util-linux"}

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian puts servers, and where users do not look


def tool(name: str, hint: str | None = None) -> str:
    """Return the path of a tool, or end with how to install it: `hint`, or its Debian package."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        how = hint or f"on Debian: apt install {PACKAGES.get(name, name)}"
        sys.exit(f"{name} is not installed; {how}")
    return path


def limpet_command() -> str:
    """Return the path of the installed command `limpet`, that of this interpreter first."""
    beside = Path(sys.executable).with_name("limpet")
    found = str(beside) if beside.exists() else shutil.which("limpet")
    if found is None:
        sys.exit("limpet is not installed; pip install . (in the root of the repository)")
    return found


def split_cores() -> tuple[str, str]:
    """Return one core for the proxies and the others for targets and load, as taskset writes them."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the proxy, one for its targets and the load")
    return str(cores[0]), ",".join(map(str, cores[1:]))


def raise_open_files() -> int:
    """Raise the limit of open files to its maximum, for this process and its children; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def facts(nginx: str) -> dict[str, str]:
    """Describe the machine and the programs, so that a figure can be read elsewhere."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.pythonversion(),
        "limpet": version([limpet_command(), "--version"]),
        "haproxy": version([tool("haproxy"), "-v"]),
        "nginx": version([nginx, "-v"]),
        "nginx (targets)": version([tool("nginx"), "-v"]),
        "wrk": version([tool("wrk"), "-v"]),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def version(argv: list[str]) -> str:
    """Return what a command says of its version."""
    run = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    found = re.search(r"\d+\.\d+[\w.+-]*", run.stdout + run.stderr)
    return found[0] if found else "unknown"
