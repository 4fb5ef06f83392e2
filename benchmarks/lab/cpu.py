"""CPU time per request, of all processes of a proxy."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import wrk
from lab.messages import MANY_SESSIONS, SESSIONS
from lab.proxies import ANCHOR, Proxy, start_proxy, start_targets
from lab.tables import Row, ratio_to_anchor

if TYPE_CHECKING:
    from pathlib import Path

    from lab.options import Options
    from lab.processes import Lab

COLUMNS = (
    ("proxy", "proxy"),
    ("setting", "setting"),
    ("us", "CPU us/request"),
    ("ratio", f"x {ANCHOR}"),
    ("kernel_us", "of it kernel"),
    ("core_percent", "core %"),
    ("requests_per_s", "requests/s"),
    ("pss_mib", "PSS MiB"),
    ("logged_percent", "logged %"),
    ("errors", "errors"),
)


@dataclass(frozen=True)
class _Setting:
    name: str
    has_logs: bool = True
    sessions: int = SESSIONS
    has_varied_answers: bool = False


_SETTINGS = (
    _Setting("logs"),
    _Setting("no logs", has_logs=False),
    # Answers that never repeat, and more clients than limpet remembers: each is read as if new.
    _Setting("logs, varied", sessions=MANY_SESSIONS, has_varied_answers=True),
)


def measure(lab: Lab, options: Options) -> list[Row]:
    """Load every proxy in turn, round after round, in each of the settings."""
    rows = []
    for setting in _SETTINGS:
        targets = start_targets(lab, is_varied=setting.has_varied_answers)
        proxies = [
            start_proxy(lab, name, targets, logs=setting.has_logs, nginx=options.nginx)
            for name in options.proxies
        ]
        scripts = {proxy.name: wrk.write_script(lab, proxy, setting.sessions) for proxy in proxies}
        for proxy in proxies:
            wrk.run(lab, proxy, scripts[proxy.name], 1)  # connections to targets, caches
        rounds = [
            {proxy.name: _run(lab, proxy, scripts[proxy.name], options.seconds) for proxy in proxies}
            for _ in range(options.rounds)
        ]
        rows += [_row(proxy, setting, rounds) for proxy in proxies]
        for proxy in proxies:
            proxy.process.stop()
    return rows


def _run(lab: Lab, proxy: Proxy, script: Path, seconds: float) -> Row:
    lines = proxy.log.lines() if proxy.log else 0
    user_s, kernel_s = proxy.process.cpu_s()
    started_s = time.perf_counter()
    load = wrk.run(lab, proxy, script, seconds)
    wall_s = time.perf_counter() - started_s
    user_end_s, kernel_end_s = proxy.process.cpu_s()
    cpu_s = user_end_s - user_s + kernel_end_s - kernel_s
    time.sleep(0.5)  # for what is still to be logged
    return {
        "us": cpu_s / load.requests * 1e6,
        "kernel_us": (kernel_end_s - kernel_s) / load.requests * 1e6,
        "core_percent": cpu_s / wall_s * 100,
        "requests_per_s": load.requests_per_s,
        "pss_mib": proxy.process.pss_bytes() / 2**20,
        "logged_percent": (proxy.log.lines() - lines) / load.requests * 100 if proxy.log else None,
        "errors": load.errors,
    }


def _row(proxy: Proxy, setting: _Setting, rounds: list[dict[str, Row]]) -> Row:
    row: Row = {"proxy": proxy.name, "setting": setting.name}
    row["ratio"] = ratio_to_anchor(rounds, proxy.name, "us")
    for key in ("us", "kernel_us", "core_percent", "requests_per_s", "pss_mib"):
        row[key] = statistics.median(one[proxy.name][key] for one in rounds)
    if setting.has_logs:
        row["logged_percent"] = min(one[proxy.name]["logged_percent"] for one in rounds)
    row["errors"] = sum(one[proxy.name]["errors"] for one in rounds)
    return row
