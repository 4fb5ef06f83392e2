"""What the page shows, as JSON-able values: the demo's own state API."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from limpet.demo.modes import MODES
from limpet.demo.names import SERVICE_S
from limpet.demo.story import STEPS, Scene, tell
from limpet.demo.tally import WINDOW_S, busiest_to_mean, percentile
from limpet.demo.visitor import Mood

if TYPE_CHECKING:
    from limpet.demo.guide import Guide
    from limpet.demo.stage import Stage
    from limpet.demo.tally import Figures, Page

EVENTS = ("influx", "kill", "drain", "add", "freeze")
CAPACITY = 1 / SERVICE_S


def view(stage: Stage, guide: Guide) -> dict[str, Any]:
    """Return everything."""
    now_s = time.monotonic()
    act = stage.act
    pages = act.tally.window(now_s)
    servers = _servers(stage, pages)
    people = stage.crowd.people
    figures = act.tally.figures()
    serving = [server["name"] for server in servers if server["state"] in {"serving", "updating"}]
    return {
        "mode": act.mode.name,
        "seconds": round(now_s - act.started_s, 1),
        "is_paused": not stage.crowd.running.is_set(),
        "line": tell(_scene(stage, servers, now_s)),
        "step": guide.index,
        "people": [[person.number, person.name, person.server, person.mood.value] for person in people],
        "servers": servers,
        "figures": {
            "people": len(people),
            "logged_in": sum(person.mood in {Mood.IN, Mood.WAITING} for person in people),
            "logouts": sum(figures.logouts.values()),
            "failures": figures.failures,
            "pages": figures.pages,
            "pages_per_s": round(len(pages) / WINDOW_S, 1),
            "busiest_to_mean": _rounded(busiest_to_mean(pages, serving), 2),
            "p99_ms": _rounded(percentile([page.took_ms for page in pages], 99), 0),
            "commands": act.commands if act.mode.sessions == "store" else 0,
        },
        "notes": [list(note) for note in list(act.notes)[-30:]],
        "acts": _acts(stage, figures),
        "store": {
            "title": stage.store.title,
            "note": stage.store.note,
            "is_silent": act.is_store_silent,
            "is_used": act.mode.sessions == "store",
        },
        "is_drained": "B" in stage.fleet.drained,
        "why_not": {event: _why_not(stage, event) for event in EVENTS},
    }


def fixed(stage: Stage) -> dict[str, Any]:
    """Return what never changes while the demo runs."""
    return {
        "modes": [{"name": m.name, "title": m.title, "says": m.says} for m in MODES.values()],
        "steps": [{"part": step.part, "title": step.title, "text": step.text} for step in STEPS],
        "capacity": CAPACITY,
        "shop_port": stage.shop_port,
        "admin": str(stage.admin.bound),
    }


def _why_not(stage: Stage, event: str) -> str:
    if event == "drain" and "B" in stage.fleet.drained:
        return ""  # the button brings it back
    return stage.why_not(event)


def _servers(stage: Stage, pages: list[Page]) -> list[dict[str, Any]]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    for page in pages:
        times[page.server].append(page.took_ms)
    homes = Counter(person.server for person in stage.crowd.people)
    moods = Counter((person.server, person.mood) for person in stage.crowd.people)
    return [
        {
            "name": name,
            "state": stage.server_state(name),
            "process": pid or 0,
            "people": homes[name],
            "logged_in": moods[name, Mood.IN],
            "pages_per_s": round(len(times[name]) / WINDOW_S, 1),
            "in_flight": stage.in_flight(name),
            "p99_ms": _rounded(percentile(times[name], 99), 0),
        }
        for name, pid in ((replica.name, replica.pid) for replica in stage.fleet.replicas)
    ]


def _acts(stage: Stage, current: Figures) -> list[dict[str, Any]]:
    records = {**stage.records, stage.act.mode.name: (current, stage.act.commands)}
    return [
        {
            "mode": name,
            "pages": figures.pages,
            "logouts": sum(figures.logouts.values()),
            "failures": figures.failures,
            "busiest_to_mean": _rounded(figures.busiest_to_mean, 2),
            "p99_ms": _rounded(figures.p99_ms, 0),
            "commands_per_page": _per_page(mode.sessions, commands, figures.pages),
        }
        for name, mode in MODES.items()
        if name in records
        for figures, commands in [records[name]]
    ]


def _per_page(sessions: str, commands: int | None, pages: int) -> float | None:
    if sessions == "memory":
        return 0.0
    return None if commands is None or not pages else round(commands / pages, 2)


def _scene(stage: Stage, servers: list[dict[str, Any]], now_s: float) -> Scene:
    act = stage.act
    return Scene(
        mode=act.mode,
        recent_logouts=act.tally.recent_logouts(now_s),
        last_event=act.last_event,
        since_event_s=now_s - act.last_event_s,
        is_paused=not stage.crowd.running.is_set(),
        is_pouring=act.is_pouring,
        is_store_silent=act.is_store_silent,
        states={server["name"]: server["state"] for server in servers},
        loads={server["name"]: server["pages_per_s"] for server in servers},
        capacity=CAPACITY,
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) if digits else round(value)
