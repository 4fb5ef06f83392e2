"""The arithmetic of a run: from requests to figures. Pure; tests/unit/test_hot_server.py knows some."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

from hot_lab.traffic import TARGETS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hot_lab.run import Seen
    from hot_lab.traffic import Extent, Scenario
    from hot_lab.users import Sample

Figures = dict[str, Any]

#: Key in the figures, words for it.
ROWS = (
    ("busiest_to_mean", "busiest/mean"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("p999_ms", "p99.9 ms"),
    ("whole_p99_ms", "p99 ms, whole run"),
    ("errors", "errors"),
    ("logouts", "logouts"),
    ("same_target_percent", "same target %"),
    ("moves_percent_per_minute", "moves, % of sessions a minute"),
    ("lent_percent", "lent requests %"),
    ("suspected", "suspected logouts"),
    ("set_cookie_percent", "Set-Cookie %"),
    ("store_commands_per_request", "store commands a request"),
    ("store_commands_at_home", "the same, reading at home"),
    ("idle_logins_percent", "newcomers to new targets %"),
    ("lag_p99_ms", "late themselves, p99 ms"),
    ("load", "load of the machine"),
)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of the values do not exceed (nearest rank); NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def windows(samples: Iterable[Sample], extent: Extent) -> list[Counter[str]]:
    """Count the requests that each target has served in each window that counts."""
    counts: list[Counter[str]] = [Counter() for _ in range(extent.windows)]
    for sample in samples:
        number = int((sample.answered_s - extent.settle_s) // extent.window_s)
        if sample.target and 0 <= number < extent.windows:
            counts[number][sample.target] += 1
    return counts


def busiest_to_mean(served: Mapping[str, int], members: str) -> float:
    """Divide what the busiest target has served by what each would have of equal shares."""
    total = sum(served.values())
    return max(served.values(), default=0) / (total / len(members)) if total else float("nan")


def visits(samples: Iterable[Sample], from_s: float, until_s: float) -> tuple[int, int, int]:
    """Count how sessions go on: (answers, those by the target of the session's answer before, sessions).

    A login begins anew: nobody knows the browser before its first, and after a logout it is lost anyway.
    """
    last: dict[int, str] = {}
    answers = same = 0
    sessions = set()
    for sample in sorted(samples, key=lambda one: one.answered_s):
        if not sample.target:
            continue
        if from_s <= sample.answered_s < until_s:
            sessions.add(sample.user)
            if sample.kind is not Kind.LOGIN and sample.user in last:
                answers += 1
                same += last[sample.user] == sample.target
        last[sample.user] = sample.target
    return answers, same, len(sessions)


def served_per_second(samples: Iterable[Sample], extent: Extent) -> dict[str, list[int]]:
    """Count what each target has served in each second from the calm to the end."""
    seconds = int(extent.calm_s + extent.end_s)
    counts = {name: [0] * seconds for name in TARGETS}
    for sample in samples:
        second = int((sample.answered_s + extent.calm_s) // 1)
        if sample.target and 0 <= second < seconds:
            counts[sample.target][second] += 1
    return counts


def figures(seen: Seen, scenario: Scenario, extent: Extent) -> Figures:
    """Return what a run's requests come to."""
    samples = seen.samples
    settled = [one for one in samples if extent.settle_s <= one.due_s < extent.end_s]
    crowd = [one for one in samples if one.due_s >= 0]
    answers, same, sessions = visits(samples, extent.settle_s, extent.end_s)
    minutes = (extent.end_s - extent.settle_s) / 60
    waits_ms = [1e3 * (one.answered_s - one.due_s) for one in settled]
    faults = Counter(_fault(one) for one in samples if one.status != 200)
    pages = [one for one in settled if one.status == 200 and one.kind is not Kind.LOGIN]
    per_window = windows(samples, extent)
    return {
        "requests": len(samples),
        "busiest_to_mean": max(busiest_to_mean(one, scenario.members) for one in per_window),
        "busiest_to_mean_by_window": [busiest_to_mean(one, scenario.members) for one in per_window],
        "p50_ms": percentile(waits_ms, 50),
        "p99_ms": percentile(waits_ms, 99),
        "p999_ms": percentile(waits_ms, 99.9),
        "whole_p99_ms": percentile([1e3 * (one.answered_s - one.due_s) for one in crowd], 99),
        "errors": faults.total(),
        "faults": dict(faults),
        "logouts": sum(one.is_logout for one in samples),
        "same_target_percent": 100 * same / answers if answers else float("nan"),
        "set_cookie_percent": _percent(sum(one.cookies > 0 for one in pages), len(pages)),
        "store_commands_per_request": _per_request(seen, samples, extent),
        "store_commands_at_home": seen.at_home,
        "idle_logins_percent": _idle_logins(crowd, scenario),
        **_own_events(seen, sessions, minutes, len(settled)),
        "lag_p99_ms": 1e3 * percentile(seen.lags_s, 99),
        "load": max(seen.load, default=float("nan")),
        "service_s": extent.service_s,
        "calm_s": extent.calm_s,
        "settle_s": extent.settle_s,
        "served": served_per_second(samples, extent),
    }


def _fault(sample: Sample) -> str:
    return sample.fault or f"{sample.status} by {'a target' if sample.target else 'the balancer'}"


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")


def _per_request(seen: Seen, samples: Iterable[Sample], extent: Extent) -> float | None:
    if len(seen.store_commands) < 2:
        return None
    answered = sum(extent.settle_s <= one.answered_s < extent.end_s for one in samples)
    return (seen.store_commands[1] - seen.store_commands[0]) / answered if answered else None


def _idle_logins(crowd: Iterable[Sample], scenario: Scenario) -> float | None:
    # Of the newcomers' logins: how many went to targets that have come up.
    if scenario.members != TARGETS:
        return None
    logins = [one.target for one in crowd if one.kind is Kind.LOGIN and one.target]
    return _percent(sum(name in scenario.to for name in logins), len(logins))


def _own_events(seen: Seen, sessions: int, minutes: float, requests: int) -> Figures:
    # What limpet itself says; the others count nothing of the kind.
    if len(seen.events) < 2:
        return {"moves_in_all": {}, "moves_percent_per_minute": None, "lent_percent": None, "suspected": None}
    before, after = seen.events
    moves = sum(after.moves.values()) - sum(before.moves.values())
    return {
        "moves_in_all": after.moves,
        "moves_percent_per_minute": 100 * moves / sessions / minutes if sessions else float("nan"),
        "lent_percent": _percent(after.lent - before.lent, requests),
        "suspected": after.suspected_logouts,
    }


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the round's figures in the middle, one by one; what is no number is of the last round."""
    result = dict(rounds[-1])
    for key, value in result.items():
        values = [one[key] for one in rounds if isinstance(one[key], int | float)]
        if isinstance(value, int | float) and values:
            result[key] = statistics.median(values)
    # An error is one whether or not it happens in most rounds.
    for key in ("errors", "logouts"):
        result[key] = max(one[key] for one in rounds)
    return result


def pinned_bars(pinned: Figures, peers: Sequence[Figures]) -> list[tuple[str, float, float, bool]]:
    """Compare a run of pinned sessions with the best of the other sticky systems; a tenth is noise."""
    least = [
        (f"{words} at most the best peer's", key)
        for key, words in (("busiest_to_mean", "busiest/mean"), ("p99_ms", "p99 ms"), ("logouts", "logouts"))
    ]
    result = []
    for words, key in least:
        best = min(one[key] for one in peers)
        result.append((words, pinned[key], best, pinned[key] <= 1.1 * best))
    if pinned["idle_logins_percent"] is not None:
        best = max(one["idle_logins_percent"] for one in peers)
        is_met = pinned["idle_logins_percent"] >= 0.9 * best
        result.append(("newcomers to new targets, % at least", pinned["idle_logins_percent"], best, is_met))
    return result


def bars(portable: Figures, ideal: Figures) -> list[tuple[str, float, float, bool]]:
    """Compare a run of portable sessions with what was to be reached: (what, is, bar, is it met)."""
    twice_ms = 2 * ideal["p99_ms"]
    return [
        ("busiest/mean at most", portable["busiest_to_mean"], 1.15, portable["busiest_to_mean"] <= 1.15),
        ("p99 ms at most twice the ideal's", portable["p99_ms"], twice_ms, portable["p99_ms"] <= twice_ms),
        (
            "same target % at least",
            portable["same_target_percent"],
            80.0,
            portable["same_target_percent"] >= 80,
        ),
        ("logouts", portable["logouts"], 0.0, portable["logouts"] == 0),
        (
            "moves, % of sessions a minute, at most",
            portable["moves_percent_per_minute"],
            5.0,
            portable["moves_percent_per_minute"] <= 5,
        ),
    ]
