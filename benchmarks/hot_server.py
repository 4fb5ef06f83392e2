"""A hot server, and who cools it: sticky balancers and limpet under the same traffic.

Five targets of fixed capacity, users of skewed activity with cookie jars, an open loop at 60 % of the
fleet's capacity; three targets that come up late, one killed, one added, one drained.
docs/benchmarks.md says how to read the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from hot_lab import drawing, report
from hot_lab.peers import SYSTEMS, versions
from hot_lab.run import run
from hot_lab.traffic import SCENARIOS, Extent

if TYPE_CHECKING:
    from collections.abc import Iterator

Runs = list[dict[str, Any]]
Results = dict[str, dict[str, dict[str, Any]]]
#: Where sessions are kept.
_WHERE = {"store": "the store", "memory": "each target's memory"}


def main() -> None:
    """Run what the command line asks for, print it, and keep it."""
    options = _arguments()
    console = Console(width=None if os.isatty(1) else 200)
    kept: dict[str, Any] = {"machine": _facts(), "runs": []}
    runs: Runs = kept["runs"]
    for path in options.add:
        runs += json.loads(path.read_text())["runs"]
    extent = Extent(
        users=options.users,
        skew=options.skew,
        service_s=options.service,
        utilisation=options.utilisation,
        calm_s=options.calm,
        settle_s=options.settle,
        windows=options.windows,
        window_s=options.window,
        seed=options.seed,
    )
    for number in range(options.rounds):
        for scenario in options.scenarios:
            for system in options.systems:
                if what := SYSTEMS[system].missing():
                    console.print(f"{system}: not measured: {what}")
                    continue
                runs.append(_measure(system, scenario, extent, options.sessions, number))
                console.print(_line(runs[-1]), highlight=False)
                if options.json:
                    options.json.write_text(json.dumps(kept) + "\n")
    for sessions in _WHERE:
        _print(console, _by_scenario(runs, sessions), sessions)
    if options.draw:
        options.draw.write_text(drawing.draw(_by_scenario(runs, options.sessions)))


def _measure(system: str, scenario: str, extent: Extent, sessions: str, number: int) -> dict[str, Any]:
    seen = run(system, scenario, extent, is_shared=sessions == "store")
    return {
        "system": system,
        "scenario": scenario,
        "sessions": sessions,
        "round": number,
        **report.figures(seen, SCENARIOS[scenario], extent),
    }


def _line(one: dict[str, Any]) -> str:
    return (
        f"{one['scenario']:7} {one['system']:17} busiest/mean {one['busiest_to_mean']:.2f}, "
        f"p99 {one['p99_ms']:.0f} ms, errors {one['errors']} {one['faults']}, logouts {one['logouts']}, "
        f"same target {one['same_target_percent']:.0f} %, moves {one['moves_in_all']}, "
        f"load {one['load']:.1f}, lag {one['lag_p99_ms']:.1f} ms"
    )


def _by_scenario(runs: Runs, sessions: str) -> Results:
    # The medians of the rounds, by scenario and system.
    grouped: Results = {}
    for scenario in SCENARIOS:
        for system in SYSTEMS:
            key = (scenario, system, sessions)
            rounds = [one for one in runs if (one["scenario"], one["system"], one["sessions"]) == key]
            if rounds:
                grouped.setdefault(scenario, {})[system] = report.medians(rounds)
    return grouped


def _print(console: Console, results: Results, sessions: str) -> None:
    for scenario, systems in results.items():
        about = SCENARIOS[scenario].about
        table = Table(title=f"{scenario}: {about}; sessions in {_WHERE[sessions]}")
        table.add_column()
        for system in systems:
            table.add_column(SYSTEMS[system].title, justify="right")
        for key, words in report.ROWS:
            table.add_row(words, *(_text(figures[key]) for figures in systems.values()))
        console.print(table)
        for whose, what, value, bar, is_met in _bars(systems):
            console.print(f"{'met   ' if is_met else 'MISSED'} {whose}: {what} {_text(bar)}: {_text(value)}")


def _bars(systems: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, float, float, bool]]:
    peers = [systems[name] for name in ("haproxy", "nginx", "envoy") if name in systems]
    if {"limpet-portable", "limpet-stateless"} <= systems.keys():
        for one in report.bars(systems["limpet-portable"], systems["limpet-stateless"]):
            yield "portable", *one
    if peers and "limpet-pinned" in systems:
        for one in report.pinned_bars(systems["limpet-pinned"], peers):
            yield "pinned", *one


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if abs(value) < 10 and value != int(value) else f"{value:.0f}"


def _facts() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **versions(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--systems", type=_names(SYSTEMS), default=[*SYSTEMS], metavar="A,B", help=f"of {', '.join(SYSTEMS)}")
    add(
        "--scenarios",
        type=_names(SCENARIOS),
        default=[*SCENARIOS],
        metavar="A,B",
        help=f"of {', '.join(SCENARIOS)}",
    )
    add("--rounds", type=int, default=1, help="how often (default: 1)")
    add("--users", type=int, default=1000, help="who log in at first (default: 1000)")
    add("--skew", type=float, default=0.8, help="exponent of Zipf's law (default: 0.8)")
    add("--service", type=float, default=0.01, metavar="SECONDS", help="of a request (default: 0.01)")
    add("--utilisation", type=float, default=0.6, help="load as a share of the capacity (default: 0.6)")
    add("--calm", type=float, default=5.0, metavar="SECONDS", help="before the crowd (default: 5)")
    add("--settle", type=float, default=20.0, metavar="SECONDS", help="before it counts (default: 20)")
    add("--windows", type=int, default=3, help="that count (default: 3)")
    add("--window", type=float, default=10.0, metavar="SECONDS", help="length of a window (default: 10)")
    add("--seed", type=int, default=1, help="of the traffic (default: 1)")
    add(
        "--sessions",
        choices=[*_WHERE],
        default="store",
        help="where the app keeps them: in a Valkey, or each target in its memory (default: store)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    add("--add", type=Path, nargs="*", default=[], metavar="FILE", help="figures of earlier runs")
    add("--draw", type=Path, metavar="FILE", help="draw the load of the targets as an SVG")
    return parser.parse_args()


def _names(known: dict[str, Any]) -> Any:
    def names(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        if unknown := [name for name in chosen if name not in known]:
            message = f"unknown: {', '.join(unknown)}; there are {', '.join(known)}"
            raise argparse.ArgumentTypeError(message)
        return chosen

    return names


if __name__ == "__main__":
    main()
