"""What sessions add to the time of a request.

All sites of a framework get short turns, round after round, in an order that changes, so that a slow moment
of the machine hits all of them. What a request costs without sessions is measured in the same rounds and
taken off. Of each turn the fastest request counts: whatever else runs on the machine makes requests
slower, none faster.
"""

from __future__ import annotations

import gc
import random
import statistics
from typing import TYPE_CHECKING

from session_lab.views import BASELINE, KINDS
from session_lab.visitors import visitors

if TYPE_CHECKING:
    from lab.tables import Row
    from session_lab.views import Kind
    from session_lab.visitors import Visitors

    #: By request and sessions, the best of each round, wall and processor time in microseconds.
    Rounds = dict[tuple[str, str], list[tuple[float, float]]]

COLUMNS = (
    ("label", "request, sessions"),
    ("wall_us", "us"),
    ("cpu_us", "CPU us"),
    ("added_us", "added us"),
    ("added_cpu_us", "added CPU us"),
    ("ratio", "added: x limpet"),
    ("ratio_range", "quartiles"),
    ("cpu_ratio", "CPU: x limpet"),
)
OURS = "limpet"
#: A ratio to less than this says more about noise than about sessions.
_MIN_US = 10.0


def measure(framework: str, port: int, kinds: list[str], rounds: int, requests: int) -> list[Row]:
    """Measure under one framework."""
    sites, by_name = visitors(framework, port)
    found: Rounds = {(kind, name): [] for kind in kinds for name in by_name}
    dice = random.Random(framework)
    gc.collect()
    gc.freeze()  # what the frameworks have loaded is not looked at again during requests
    for _ in range(rounds):
        for kind in kinds:
            for name in dice.sample(list(by_name), len(by_name)):
                found[kind, name].append(_turn(by_name[name], KINDS[kind], requests))
    for site in sites.values():
        site.close()
    return [_row(framework, kind, name, found) for kind in kinds for name in by_name]


def _turn(each: Visitors, kind: Kind, requests: int) -> tuple[float, float]:
    answers = [each.get(kind, each.ready(kind)) for _ in range(requests)]
    return min(answer.wall_ns for answer in answers) / 1000, min(answer.cpu_ns for answer in answers) / 1000


def _row(framework: str, kind: str, name: str, found: Rounds) -> Row:
    wall, cpu = ([each[at] for each in found[kind, name]] for at in (0, 1))
    row: Row = {
        "framework": framework,
        "label": f"{kind}, {name}",
        "wall_us": statistics.median(wall),
        "cpu_us": statistics.median(cpu),
    }
    if name == BASELINE:
        return row
    added, added_cpu = (_added(found, kind, name, at) for at in (0, 1))
    row |= {"added_us": statistics.median(added), "added_cpu_us": statistics.median(added_cpu)}
    if name != OURS:
        ratios = _ratios(added, _added(found, kind, OURS, 0))
        cpu_ratios = _ratios(added_cpu, _added(found, kind, OURS, 1))
        if ratios and cpu_ratios:
            low, middle, high = statistics.quantiles(ratios, n=4)
            row |= {"ratio": middle, "ratio_range": f"{low:.2f}-{high:.2f}"}
            row["cpu_ratio"] = statistics.median(cpu_ratios)
    return row


def _added(found: Rounds, kind: str, name: str, at: int) -> list[float]:
    pairs = zip(found[kind, name], found[kind, BASELINE], strict=True)
    return [one[at] - without[at] for one, without in pairs]


def _ratios(theirs: list[float], ours: list[float]) -> list[float]:
    if statistics.median(ours) < _MIN_US:
        return []
    return [one / max(other, _MIN_US) for one, other in zip(theirs, ours, strict=True)]
