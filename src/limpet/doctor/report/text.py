"""A verdict for a person: findings first, then what was ruled out and what was not tested.

The last two are what calms an anxious reader, so they are always there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from limpet.doctor.checks import CHECKS
from limpet.doctor.finding import Severity
from limpet.doctor.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from limpet.doctor.evidence import Arm
    from limpet.doctor.finding import Finding
    from limpet.doctor.verdict import Verdict

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
_NAMES = {Severity.ERROR: "ERROR", Severity.WARNING: "WARN", Severity.NOTE: "NOTE"}


def render(verdict: Verdict, *, took_s: float, is_verbose: bool = False) -> RenderableType:
    """Return the report.

    Args:
        took_s: how long the run took.
        is_verbose: whether to give the reason of each rule that was ruled out or not tested.
    """
    parts: list[RenderableType] = [_headline(verdict, took_s), Text()]
    for finding in verdict.findings:
        parts += [_finding(finding), Text()]
    parts += [*_conclusion(verdict), *_arms(verdict), Text()]
    parts += [_rules("Ruled out", verdict.ruled_out, is_verbose=is_verbose)]
    parts += [_not_tested(verdict.not_tested, is_verbose=is_verbose)]
    return Group(*parts)


def _headline(verdict: Verdict, took_s: float) -> Text:
    evidence = verdict.evidence
    seen = len(evidence.seen_replicas)
    replicas = f"{seen} replica{'' if seen == 1 else 's'} seen" if seen else "replicas cannot be told apart"
    line = f"limpet {evidence.command} {evidence.url}    {evidence.used} requests, {took_s:.0f} s, {replicas}"
    return Text(line, style="bold")


def _finding(finding: Finding) -> RenderableType:
    colour = _COLOURS[finding.severity]
    title = CHECKS[finding.rule].title if finding.rule in CHECKS else RULES.get(finding.rule, "")
    head = Text.from_markup(
        f"[{colour}]{_NAMES[finding.severity]:<5}[/]  [bold]{finding.rule:<3}[/]  {escape(title)}"
        f"  [dim]{finding.confidence.value}[/]"
    )
    return Group(head, _rows(_told(finding)))


def _told(finding: Finding) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(finding.evidence):
        yield "" if number else "Evidence", line
    yield "Users see", finding.users_see
    if finding.location:
        yield "Where", f"{finding.location.path}:{finding.location.line}"
    yield "Fix", finding.fix
    if finding.rivals:
        yield "Or", ", ".join(f"{rule} ({RULES[rule]})" for rule in finding.rivals)
    if finding.decide_by:
        yield "Decide by", finding.decide_by


def _rows(rows: Iterator[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(f"  {name}", Text(text))
    return table


def _conclusion(verdict: Verdict) -> Iterator[Text]:
    if verdict.name == "inconclusive":
        yield Text(f"INCONCLUSIVE  {verdict.reason}", style="bold yellow")
    elif verdict.name == "ok":
        yield Text("No loss seen", style="bold green")
    bounds = verdict.bounds
    if bounds is not None and not bounds.lost:
        yield Text(
            f"0 of {bounds.visits} page loads lost: with 99 % certainty fewer than {bounds.loss:.1%} are. "
            f"A user with 100 page loads may still be logged out with a chance of {bounds.loss_over_100:.0%}."
        )
    if verdict.evidence.oracle:
        yield Text(f"Logged in is told by: {verdict.evidence.oracle}", style="dim")


def _arms(verdict: Verdict) -> Iterator[RenderableType]:
    rows = [arm for arm in verdict.evidence.arms if arm.visits]
    if rows:
        named = ((_arm_name(arm), arm.sequence) for arm in rows)
        yield _rows(iter([("Visits", ". in, X out, ? neither"), *named]))


def _arm_name(arm: Arm) -> str:
    name = arm.kind.name.lower().replace("_", " ")
    return f"{name} {arm.login or ''}"


def _rules(name: str, reasons: Mapping[str, str], *, is_verbose: bool) -> RenderableType:
    if is_verbose:
        return Group(Text(name, style="dim"), _rows(iter(reasons.items())))
    return _rows(iter([(name, ", ".join(sorted(reasons, key=_by_number)) or "nothing")]))


def _not_tested(reasons: Mapping[str, str], *, is_verbose: bool) -> RenderableType:
    # What would have to be done to test them is worth a line.
    if is_verbose:
        return _rules("Not tested", reasons, is_verbose=True)
    grouped: dict[str, list[str]] = {}
    for rule, reason in reasons.items():
        grouped.setdefault(reason, []).append(rule)
    lines = [f"{', '.join(sorted(rules, key=_by_number))}: {reason}" for reason, rules in grouped.items()]
    rows = (("" if number else "Not tested", line) for number, line in enumerate(lines or ["nothing"]))
    return _rows(rows)


def _by_number(rule: str) -> tuple[str, int]:
    return rule[0], int(rule[1:])
