"""`limpet explain`: why a request went where it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from rich.markup import escape
from rich.table import Table

from limpet.cli.admin_client import AdminRefusal, admin_option
from limpet.cli.output import console, fail, print_json

if TYPE_CHECKING:
    from limpet.cli.admin_client import AdminClient


@click.command()
@click.argument("request_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print everything, as JSON.")
@admin_option
def explain(client: AdminClient, request_id: str, as_json: bool) -> None:
    """Explain where a recent request went, and why.

    ID is the request's X-Request-Id: it stands in the access log and on limpet's error pages.
    Exit code 1 if it is not among the last thousand requests.
    """
    try:
        found = client.get(f"/explain/{quote(request_id, safe='')}")
    except AdminRefusal as refusal:
        fail(str(refusal))
    if as_json:
        print_json(found)
        return
    output = console()
    for name, value in _facts(found):
        output.print(f"[bold]{name:<12}[/]{escape(value)}")
    if found.get("candidates"):
        output.print(_candidates(found["candidates"]))


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        (
            "request",
            f"{found['method']} {found['path']}, {found['time']}, from {found['client'] or 'a Unix socket'}",
        ),
        ("answer", _answer(found)),
    ]
    if found.get("rule") is not None:
        why = f": {found['group']} {found['why_group']}" if found.get("why_group") else ""
        facts.append(("rule", ("none matched" if found["rule"] == "-" else found["rule"]) + why))
    if found["group"] is not None:
        pinned = f", pinned to {found['pinned_to']}" if found.get("pinned_to") else ""
        facts += [
            ("target", f"{found['group']}/{found['target'] or '-'}: {found['reason']}"),
            ("stickiness", f"{found.get('stickiness')}: {found['sticky_status']}{pinned}"),
            ("algorithm", str(found.get("algorithm"))),
        ]
    if found.get("is_lent"):
        facts.append(("", f"lent: {found['pinned_to']} stays the session's home"))
    if found.get("is_failing_open"):
        facts.append(("", "no target was healthy, so all got requests"))
    facts += [
        ("attempt", f"{attempt['target']}: {attempt['error']} ({attempt['detail']})")
        for attempt in found["attempts"]
    ]
    return facts


def _answer(found: dict[str, Any]) -> str:
    text = f"{found['status']} after {found['total_ms']} ms"
    if found["error"] is not None:
        text += f", limpet's own: {found['error']}"
    return f"{text} ({found['detail']})" if found["detail"] else text


def _candidates(candidates: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("candidate", "health", "weight", "in flight", "verdict"):
        table.add_column(name)
    for candidate in candidates:
        in_flight = candidate["in_flight"]
        table.add_row(
            escape(candidate["target"]),
            candidate["health"],
            f"{candidate['weight']:g}",
            "-" if in_flight is None else str(in_flight),
            escape(candidate["verdict"]),
            style="bold" if candidate["is_chosen"] else None,
        )
    return table
