"""How good is `limpet doctor`: every fault of the lab and every well site, so many times each.

A fault counts as found if its cause leads the report. `--json` keeps each run; the table says what was
found instead where it was not. A seed is a repetition: HAProxy's choice among replicas differs each time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctor_lab.faults import CONTROLS, FAULTS
from doctor_lab.place import Place
from doctor_lab.trial import try_site
from limpet.doctor.finding import Severity

if TYPE_CHECKING:
    from doctor_lab.fault import Fault


def main() -> None:
    """Run what the command line asks for, print a line for each site, and keep every run."""
    options = _arguments()
    faults = [
        each
        for each in (*FAULTS, *CONTROLS)
        if not options.only or {each.rule, each.name} & set(options.only)
    ]
    runs: list[dict[str, Any]] = []
    started_s = time.monotonic()
    with Place(faults) as place, ThreadPoolExecutor(options.jobs) as pool:
        # Runs of one site come one after the other: some sites allow a user one session.
        works = {pool.submit(_runs, fault, place, _seeds(fault, options)): fault for fault in faults}
        for work in as_completed(works):
            runs += work.result()
            print(_line(works[work], work.result()), flush=True)
            if options.json:
                options.json.write_text(json.dumps(runs, indent=1) + "\n")
    _sum_up(runs)
    print(f"took {(time.monotonic() - started_s) / 60:.1f} min, {options.jobs} sites at a time")


def _seeds(fault: Fault, options: argparse.Namespace) -> int:
    if options.quick:
        return 1
    return int(options.seeds if fault.rule else options.control_seeds)


def _runs(fault: Fault, place: Place, count: int) -> list[dict[str, Any]]:
    return [_run(fault, place, seed) for seed in range(count)]


def _run(fault: Fault, place: Place, seed: int) -> dict[str, Any]:
    trial = try_site(fault, place.urls[fault.name])
    return {
        "fault": fault.name,
        "expected": fault.rule,
        "mode": fault.mode,
        "seed": seed,
        "is_right": trial.is_right,
        "first": trial.first,
        "errors": trial.told(Severity.ERROR),
        "warnings": trial.told(Severity.WARNING),
        "verdict": trial.verdict.name,
        "reason": trial.verdict.reason,
        "requests": trial.verdict.evidence.used,
        "leaked": len(trial.leaks()),
        "took_s": round(trial.took_s, 2),
    }


def _line(fault: Fault, runs: list[dict[str, Any]]) -> str:
    right = sum(run["is_right"] for run in runs)
    others = Counter(run["first"] or run["verdict"] for run in runs if not run["is_right"])
    told = ", ".join(f"{rule} x{count}" for rule, count in others.items())
    most = max(run["requests"] for run in runs)
    took_s = sum(run["took_s"] for run in runs) / len(runs)
    name = f"{fault.rule or '-':4} {fault.mode:8} {fault.name:36}"
    return f"{name} {right:3}/{len(runs):<3} {most:4} req {took_s:5.1f} s  {told}"


def _sum_up(runs: list[dict[str, Any]]) -> None:
    sick = [run for run in runs if run["expected"]]
    well = [run for run in runs if not run["expected"]]
    print(f"faults with the right cause first: {sum(run['is_right'] for run in sick)} of {len(sick)}")
    print(
        f"well sites without an error and with one warning at most: {sum(r['is_right'] for r in well)}",
        end="",
    )
    print(f" of {len(well)}, {sum(bool(run['warnings']) for run in well)} with a warning")
    print(f"most requests of a run: {max(run['requests'] for run in runs)}; ", end="")
    print(f"secrets in reports: {sum(run['leaked'] for run in runs)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="runs of each fault")
    parser.add_argument("--control-seeds", type=int, default=50, help="runs of each well site")
    parser.add_argument("--only", nargs="*", default=[], help="rules, or names of faults and well sites")
    parser.add_argument("--jobs", type=int, default=4, help="sites at a time; a run waits most of its time")
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--json", type=Path, help="where each run is kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
