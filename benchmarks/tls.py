"""TLS of limpet beside HAProxy and nginx: handshakes, full and resumed, and requests with keep-alive,
over HTTP/1.1 and HTTP/2; limpet with one worker and with two.

All proxies are measured in one run on one core, in turns; the other cores serve the targets and the
load. What counts is the CPU time of the proxy with all its processes: the load may be what is slow.
A connection is TCP, the handshake, one request and the close.
"""

from __future__ import annotations

import argparse
import json
import re
import ssl
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from lab import machine
from lab.processes import Lab
from lab.proxies import ANCHOR, WORKERS, Proxy, start_targets
from lab.tables import Row, print_table, ratio_to_anchor
from lab.tls_proxies import start_tls_proxy, write_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

PROXIES = ("haproxy", "nginx", *WORKERS)
_CLIENT = Path(__file__).parent / "lab" / "tls_client.py"
_CLIENTS = 4
_COLUMNS = (
    ("what", "what"),
    ("proxy", "proxy"),
    ("us", "CPU us each"),
    ("ratio", f"x {ANCHOR}"),
    ("per_core_s", "each/s of a core"),
    ("seen_s", "each/s seen"),
    ("resumed_percent", "resumed %"),
)


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    nginx = machine.tool(arguments.nginx)
    facts = machine.facts(nginx)
    for name, value in facts.items():
        print(f"{name + ':':18}{value}")
    with Lab() as lab:
        rows = _measure(lab, nginx, arguments.rounds, arguments.seconds)
    print()
    print_table(_COLUMNS, rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts, "tls": rows}, indent=1) + "\n")
    return 0


def _measure(lab: Lab, nginx: str, rounds: int, seconds: int) -> list[Row]:
    files = write_certificate(lab)
    targets = start_targets(lab)
    proxies = [start_tls_proxy(lab, name, targets, files, nginx) for name in PROXIES]
    chain = str(files[0])

    def connect(version: str, how: str) -> Callable[[Proxy], Row]:
        return lambda proxy: _connections(lab, proxy, [chain, version, str(seconds), how])

    loads: dict[str, Callable[[Proxy], Row]] = {
        "TLS 1.3 full": connect("TLSv1_3", "full"),
        "TLS 1.3 resumed": connect("TLSv1_3", "resumed"),
        "TLS 1.2 full": connect("TLSv1_2", "full"),
        "TLS 1.2 resumed": connect("TLSv1_2", "resumed"),
        "request, HTTP/1.1": lambda proxy: _requests(lab, proxy, seconds),
        "request, HTTP/2": lambda proxy: _http2_requests(lab, proxy, seconds),
    }
    rows = []
    for what, load in loads.items():
        for proxy in proxies:
            load(proxy)  # connections to targets, caches
        found = [{proxy.name: load(proxy) for proxy in proxies} for _ in range(rounds)]
        for proxy in proxies:
            own = [one[proxy.name] for one in found]
            row: Row = {"what": what, "proxy": proxy.name, "ratio": ratio_to_anchor(found, proxy.name, "us")}
            for key in ("us", "seen_s", "resumed_percent"):
                values = [one[key] for one in own if one[key] is not None]
                row[key] = statistics.median(values) if values else None
            row["per_core_s"] = 1e6 / row["us"]
            rows.append(row)
    return rows


def _connections(lab: Lab, proxy: Proxy, arguments: list[str]) -> Row:
    argv = [machine.tool("taskset"), "-c", lab.load_cores, sys.executable, str(_CLIENT), str(proxy.port)]
    before = sum(proxy.process.cpu_s())
    clients = [
        subprocess.Popen([*argv, *arguments], stdout=subprocess.PIPE, text=True) for _ in range(_CLIENTS)
    ]
    counts = [client.communicate(timeout=120)[0].split() for client in clients]
    cpu_s = sum(proxy.process.cpu_s()) - before
    done, resumed = (sum(int(count[place]) for count in counts) for place in (0, 1))
    return {
        "us": cpu_s / done * 1e6,
        "seen_s": done / float(arguments[2]),
        "resumed_percent": resumed / done * 100,
    }


def _cookie(proxy: Proxy) -> str | None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"https://localhost:{proxy.port}/", context=context) as answer:
        found = answer.headers.get("Set-Cookie")
    return found.partition(";")[0] if found else None


def _requests(lab: Lab, proxy: Proxy, seconds: int) -> Row:
    argv = [
        machine.tool("taskset"),
        "-c",
        lab.load_cores,
        machine.tool("wrk"),
        "-t1",
        "-c32",
        f"-d{seconds}s",
    ]
    if cookie := _cookie(proxy):
        argv += ["-H", f"Cookie: {cookie}"]
    before = sum(proxy.process.cpu_s())
    out = subprocess.run(
        [*argv, f"https://localhost:{proxy.port}/"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    cpu_s = sum(proxy.process.cpu_s()) - before
    done = re.search(r"(\d+) requests in ", out)
    if done is None or "Non-2xx" in out or "Socket errors" in out:
        proxy.process.fail(f"was not measured by wrk, which said\n{out}\nand it said")
        raise AssertionError
    return {"us": cpu_s / int(done[1]) * 1e6, "seen_s": int(done[1]) / seconds, "resumed_percent": None}


def _http2_requests(lab: Lab, proxy: Proxy, seconds: int) -> Row:
    argv = [machine.tool("taskset"), "-c", lab.load_cores, machine.tool("h2load"), "-t1", "-c8", "-m8"]
    argv += [f"-D{seconds}", "--warm-up-time=0"]
    if cookie := _cookie(proxy):
        argv += ["-H", f"Cookie: {cookie}"]
    before = sum(proxy.process.cpu_s())
    out = subprocess.run(
        [*argv, f"https://localhost:{proxy.port}/"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    cpu_s = sum(proxy.process.cpu_s()) - before
    done = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", out)
    if done is None or "Application protocol: h2" not in out:
        proxy.process.fail(f"was not measured by h2load, which said\n{out}\nand it said")
        raise AssertionError
    return {"us": cpu_s / int(done[1]) * 1e6, "seen_s": int(done[1]) / seconds, "resumed_percent": None}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each proxy (default: 3)")
    parser.add_argument("--seconds", type=int, default=4, help="of load in each turn (default: 4)")
    parser.add_argument("--nginx", default="nginx", help="the nginx to measure (default: that of the PATH)")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
