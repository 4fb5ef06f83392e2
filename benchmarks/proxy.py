"""limpet beside HAProxy and nginx: CPU per request, latency, idle memory, large bodies.

All proxies are measured in one run on one core, in turns, with the same load; the other
cores serve the targets and the load. docs/benchmarks.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lab import body, cpu, idle, latency, machine
from lab.options import Options
from lab.processes import Lab
from lab.tables import print_table

if TYPE_CHECKING:
    from lab.tables import Row

MEASUREMENTS = {"cpu": cpu, "latency": latency, "idle": idle, "body": body}
#: Datagrams may be lost, and wrk drops what is under way at its end.
_MIN_LOGGED_PERCENT = 99
PROXIES = ("haproxy", "nginx", "limpet")
#: Measured if it is asked for.
MORE = ("limpet-2-workers",)


def main() -> int:
    """Run what the command line asks for; return 1 if something went wrong that spoils the figures."""
    arguments = _arguments()
    options = Options(
        proxies=arguments.proxies,
        nginx=machine.tool(arguments.nginx),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        idle_connections=arguments.idle_connections,
    )
    facts = machine.facts(options.nginx)
    for name, value in facts.items():
        print(f"{name + ':':18}{value}")
    results: dict[str, list[Row]] = {}
    for name in MEASUREMENTS if arguments.what == "all" else [arguments.what]:
        measurement = MEASUREMENTS[name]
        with Lab() as lab:
            results[name] = measurement.measure(lab, options)
        print(f"\n{(measurement.__doc__ or '').splitlines()[0]}")
        print_table(measurement.COLUMNS, results[name])
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts, **results}, indent=1) + "\n")
    complaints = [
        f"{row['proxy']}: {text}" for rows in results.values() for row in rows for text in _faults(row)
    ]
    for complaint in complaints:
        print(f"the figures do not count: {complaint}")
    return 1 if complaints else 0


def _faults(row: Row) -> list[str]:
    """Say what went wrong while a row was measured."""
    faults = []
    if row.get("errors"):
        faults.append(f"{row['errors']} requests failed")
    if row.get("closed"):
        faults.append(f"{row['closed']} idle connections were closed")
    if row.get("logged_percent", 100) < _MIN_LOGGED_PERCENT:
        faults.append(f"only {row['logged_percent']:.1f} % of the requests were logged")
    return faults


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=[*MEASUREMENTS, "all"])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each proxy (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="of load in each turn (default: 5)")
    parser.add_argument("--idle-connections", type=int, default=10_000, metavar="N", help="default: 10000")
    parser.add_argument(
        "--proxies", type=_names, default=PROXIES, metavar="A,B", help=f"of {', '.join(PROXIES + MORE)}"
    )
    parser.add_argument("--nginx", default="nginx", metavar="PATH", help="the nginx to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(PROXIES + MORE):
        message = f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PROXIES + MORE)}"
        raise argparse.ArgumentTypeError(message)
    return names


if __name__ == "__main__":
    raise SystemExit(main())
