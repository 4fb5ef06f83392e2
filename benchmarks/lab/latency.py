"""p99 at one rate for all: half of what the slower of limpet and HAProxy can do."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab import machine, wrk
from lab.messages import browser_heads, sticky_cookies
from lab.proxies import ANCHOR, Proxy, start_proxy, start_targets
from lab.tables import Row, ratio_to_anchor

if TYPE_CHECKING:
    from lab.options import Options
    from lab.processes import Lab

COLUMNS = (
    ("proxy", "proxy"),
    ("rate", "requests/s"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("ratio", f"p99 x {ANCHOR}"),
    ("lag_p99_ms", "load late, p99 ms"),
    ("cpu_us", "load us/request"),
    ("errors", "errors"),
)
#: The load straight to a target: what the measurement itself costs.
DIRECT = "(no proxy)"
#: Those that decide the rate, if they take part.
_PACE = ("limpet", ANCHOR)


def measure(lab: Lab, options: Options) -> list[Row]:
    """Find the rate, then send at that rate through every proxy in turn, round after round."""
    targets = start_targets(lab)
    proxies = [start_proxy(lab, name, targets, logs=True, nginx=options.nginx) for name in options.proxies]
    rate = min(_maximum(lab, proxy) for proxy in proxies if proxy.name in _PACE or len(proxies) == 1) / 2
    heads = {proxy.name: _write_heads(lab, proxy.name, sticky_cookies(proxy.port)) for proxy in proxies}
    heads[DIRECT] = _write_heads(lab, "direct", [])
    ports = {proxy.name: proxy.port for proxy in proxies} | {DIRECT: targets[0]}
    rounds = [
        {name: _run(lab, port, heads[name], rate, options.seconds, seed) for name, port in ports.items()}
        for seed in range(options.rounds)
    ]
    return [_row(name, rate, rounds) for name in ports]


def _maximum(lab: Lab, proxy: Proxy) -> float:
    script = wrk.write_script(lab, proxy)
    wrk.run(lab, proxy, script, 1)
    return wrk.run(lab, proxy, script, 3).requests_per_s


def _write_heads(lab: Lab, name: str, cookies: list[str]) -> Path:
    return lab.write(
        f"{name}-heads.json", json.dumps([head.decode("ascii") for head in browser_heads(cookies)])
    )


def _run(lab: Lab, port: int, heads: Path, rate: float, seconds: float, seed: int) -> Row:
    load = [machine.tool("taskset"), "-c", lab.load_cores, sys.executable, "-m", "lab.open_loop"]
    run = subprocess.run(
        [*load, str(port), str(heads), f"{rate:.1f}", f"{seconds:.1f}", str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds + 30,
        cwd=Path(__file__).parent.parent,
    )
    row: Row = json.loads(run.stdout)
    return row


def _row(name: str, rate: float, rounds: list[dict[str, Row]]) -> Row:
    row: Row = {"proxy": name, "rate": rate, "ratio": ratio_to_anchor(rounds, name, "p99_ms")}
    for key in ("p50_ms", "p99_ms", "lag_p99_ms", "cpu_us"):
        row[key] = statistics.median(one[name][key] for one in rounds)
    row["errors"] = sum(one[name]["errors"] for one in rounds)
    return row
