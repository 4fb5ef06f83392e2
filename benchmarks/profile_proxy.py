"""Where the time of a request goes: limpet under full load, sampled by py-spy.

Prints the functions with the most time of their own, and those with the most time in all
they call, as microseconds per request. docs/benchmarks.md says how to read it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from lab import machine, wrk
from lab.messages import MANY_SESSIONS, SESSIONS
from lab.processes import Lab
from lab.proxies import start_proxy, start_targets
from lab.tables import print_table

_SAMPLES_PER_S = 500
_LINES = 30


def main() -> None:
    """Load limpet, sample it, and print what the samples say."""
    arguments = _arguments()
    py_spy = _py_spy()
    with Lab() as lab:
        targets = start_targets(lab, is_varied=arguments.varied)
        limpet = start_proxy(lab, "limpet", targets, logs=not arguments.no_log, nginx="nginx")
        script = wrk.write_script(lab, limpet, MANY_SESSIONS if arguments.varied else SESSIONS)
        wrk.run(lab, limpet, script, 1)
        before = limpet.process.cpu_s()
        load = wrk.run(lab, limpet, script, 2)
        user_us, kernel_us = (
            (after - start) / load.requests * 1e6
            for start, after in zip(before, limpet.process.cpu_s(), strict=True)
        )
        print(f"{user_us + kernel_us:.1f} us per request, {kernel_us:.1f} of them in the kernel")

        busy = threading.Thread(target=wrk.run, args=(lab, limpet, script, arguments.seconds + 2))
        busy.start()
        stacks = lab.directory / "stacks"
        record = [py_spy, "record", "--pid", str(limpet.process.pid), "--subprocesses", "--function"]
        record += ["--format", "raw", "--output", str(stacks), "--rate", str(_SAMPLES_PER_S)]
        record += ["--duration", str(arguments.seconds), *(["--native"] if arguments.native else [])]
        sampled = subprocess.run(record, capture_output=True, text=True, check=False)
        busy.join()
        if sampled.returncode:
            sys.exit(f"py-spy failed:\n{sampled.stderr}")
        _print_profile(stacks.read_text(), user_us + kernel_us)
        if arguments.stacks:
            arguments.stacks.write_text(stacks.read_text())


def _print_profile(stacks: str, us_per_request: float) -> None:
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            inclusive[frame] += int(count)
    total = own.total()
    for heading, counts in (("own time", own), ("with all it calls", inclusive)):
        rows = [
            {"function": frame, "us": count / total * us_per_request, "percent": count / total * 100}
            for frame, count in counts.most_common(_LINES)
        ]
        print()
        print_table((("function", heading), ("us", "us/request"), ("percent", "%")), rows)


def _py_spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    if beside.exists():
        return str(beside)
    return machine.tool("py-spy", hint="pip install py-spy")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=10, help="of sampling (default: 10)")
    parser.add_argument("--no-log", action="store_true", help="without an access log")
    parser.add_argument("--varied", action="store_true", help="so that nothing remembered is of use")
    parser.add_argument("--native", action="store_true", help="show functions of C extensions, too")
    parser.add_argument("--stacks", type=Path, metavar="FILE", help="keep the stacks, for a flame graph")
    return parser.parse_args()


if __name__ == "__main__":
    main()
