"""What `limpet top` shows of one frame of the feed.

Targets that do not fit are scrolled to; columns that do not fit are left out, the least wanted first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from limpet.cli.output import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType

_STYLES = {
    "healthy": "green",
    "unavailable": "green",
    "initial": "yellow",
    "draining": "yellow",
    "maintenance": "yellow",
    "unhealthy": "bold red",
}
_SERVING = {"healthy", "unavailable"}
#: Of what had no request in the time that was looked at.
_IDLE: dict[str, Any] = {
    "requests_per_s": 0.0,
    "server_errors_per_s": 0.0,
    "response_ms": None,
    "targets": {},
}
_DECISIONS = 5
_NONE = "-"


class Row(NamedTuple):
    """A target, and what happened to it lately; `rates` is None in a first frame."""

    target: dict[str, Any]
    rates: dict[str, Any] | None


class Screen(NamedTuple):
    """What there is, and how much of it fits.

    Attributes:
        content: to be printed.
        first, last, all: the targets that it shows, counted from 1, and how many there are.
    """

    content: RenderableType
    first: int
    last: int
    all: int


class _Column(NamedTuple):
    title: str
    wanted_from: int  # columns of the terminal
    text: Callable[[Row], str]


def _time(ms: float | None) -> str:
    if ms is None:
        return _NONE
    if ms >= 1000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def _rate(number: float | None) -> str:
    if number is None:
        return _NONE
    return f"{number:.0f}" if number == 0 or number >= 10 else f"{number:.1f}"


def _rates(row: Row, name: str) -> float | None:
    return row.rates[name] if row.rates is not None else None


def _response(row: Row, name: str) -> str:
    found = row.rates["response_ms"] if row.rates is not None else None
    return _time(found[name] if found is not None else None)


_COLUMNS = (
    _Column("weight", 100, lambda row: f"{row.target['effective_weight']:g}"),
    _Column("in flight", 0, lambda row: str(row.target["in_flight"])),
    _Column("queued", 110, lambda row: str(row.target["queued"])),
    _Column("req/s", 0, lambda row: _rate(_rates(row, "requests_per_s"))),
    _Column("median", 70, lambda row: _response(row, "median")),
    _Column("99 %", 70, lambda row: _response(row, "p99")),
    _Column("5xx/s", 60, lambda row: _rate(_rates(row, "server_errors_per_s"))),
    _Column("sessions", 0, lambda row: str(row.target["sessions"])),
    _Column("portable", 100, lambda row: _told(row.target, "portable")),
    _Column("pinned", 100, lambda row: _told(row.target, "pinned")),
)


def _told(facts: dict[str, Any], name: str) -> str:
    # Balancers whose apps do not tell of their sessions cannot know.
    return str(facts[name]) if name in facts else "unknown"


def screen(
    frame: dict[str, Any], width: int, height: int | None = None, scroll: int = 0, notice: str = ""
) -> Screen:
    """Return what fits of a frame.

    Args:
        height: None for all of it.
        scroll: how many targets to leave out at the top.
        notice: shown at the bottom.
    """
    groups = frame["status"]["target_groups"]
    targets = [(group["name"], target) for group in groups for target in group["targets"]]
    notable = [row for row in frame["recent"] if row["is_notable"]][:_DECISIONS]
    if height is None:
        shown = targets
        scroll = 0
    else:
        # The header, the notice and three lines for each group need theirs. Decisions, with two lines of
        # their own, get what targets leave, or a half.
        room = height - 2 - 3 * len(groups)
        notable = notable[: max(0, room - min(len(targets), room // 2) - 2)]
        room = max(1, room - (len(notable) + 2 if notable else 0))
        scroll = max(0, min(scroll, len(targets) - room))
        shown = targets[scroll : scroll + room]
    parts: list[RenderableType] = [_head(frame)]
    for group in groups:
        members = [target for name, target in shown if name == group["name"]]
        if members or height is None:
            parts += ["", *_group(frame, group, members, width)]
    if notable:
        parts += ["", Text("out of the ordinary, the last first", style="bold"), _decisions(notable)]
    if notice:
        parts.append(Text(notice, style="dim", no_wrap=True, overflow="ellipsis"))
    return Screen(Group(*parts), scroll + 1, scroll + len(shown), len(targets))


def _head(frame: dict[str, Any]) -> Text:
    status, rates = frame["status"], frame["rates"]
    parts = [
        f"limpet {status['limpet']}",
        f"up for {status['uptime_s']:.0f} s",
        f"{_rate(rates['requests_per_s'] if rates is not None else None)} requests/s",
        counted(status["connections"], "connection"),
        *([f"{status['workers']} workers"] if status["workers"] > 1 else []),
        *(["read-only"] if frame["is_read_only"] else []),
    ]
    return Text(", ".join(parts), style="bold", no_wrap=True, overflow="ellipsis")


def _group(
    frame: dict[str, Any], group: dict[str, Any], targets: list[dict[str, Any]], width: int
) -> Iterator[RenderableType]:
    rates = frame["rates"]["groups"].get(group["name"], _IDLE) if frame["rates"] is not None else None
    yield Text(_title(group, Row({}, rates)), no_wrap=True, overflow="ellipsis")
    known = rates["targets"] if rates is not None else {}
    missing = _IDLE if rates is not None else None
    yield _table((Row(target, known.get(target["name"], missing)) for target in targets), width)


def _title(group: dict[str, Any], row: Row) -> str:
    serving = sum(target["health"] in _SERVING for target in group["targets"])
    logouts = group.get("suspected_logouts")
    causes = (
        "unknown"
        if logouts is None
        else ", ".join(f"{number} {cause}" for cause, number in logouts.items() if number) or "none"
    )
    parts = [
        f"{group['name']}: {serving} of {len(group['targets'])} serving",
        counted(sum(target["sessions"] for target in group["targets"]), "session"),
        f"suspected logouts: {causes}",
        f"{_rate(_rates(row, 'requests_per_s'))} requests/s",
        f"median {_response(row, 'median')}, 99 % {_response(row, 'p99')}",
    ]
    if group["is_failing_open"]:
        parts.insert(0, "NO TARGET IS HEALTHY, so all get requests")
    return "; ".join(parts)


def _table(rows: Iterable[Row], width: int) -> Table:
    columns = [column for column in _COLUMNS if width >= column.wanted_from]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("target", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("state", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in rows:
        health = row.target["health"]
        table.add_row(
            escape(row.target["name"]),
            f"[{_STYLES.get(health, 'dim')}]{health}{', terminating' * row.target['is_terminating']}[/]",
            *[column.text(row) for column in columns],
        )
    return table


def _decisions(rows: list[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        where = f"{row['group']}/{row['target'] or '-'}" if row["group"] is not None else "-"
        tried = [f"{attempt['target']} {attempt['error']}" for attempt in row["attempts"]]
        story = [word for word in (row["error"], row["sticky_status"], row["reason"], *tried) if word]
        table.add_row(
            row["time"][11:23],
            f"{row['status']}",
            escape(f"{row['method']} {row['path']}"),
            escape(f"{where}: {', '.join(story)}"),
        )
    return table
