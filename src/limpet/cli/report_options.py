"""Options that `doctor` and `check` share: which rules, which level fails, which forms of report."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from limpet.cli.output import EXIT_USAGE, console, fail, print_json
from limpet.doctor.finding import Severity
from limpet.doctor.report import as_json, junit, sarif, text
from limpet.doctor.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.verdict import Verdict

_Command = TypeVar("_Command", bound="Callable[..., Any]")

_PATH: Any = click.Path(path_type=Path)

_OPTIONS = (
    click.option(
        "--only", "rules", metavar="RULE", multiple=True, help="Judge by this rule only; may be repeated."
    ),
    click.option(
        "--fail-on",
        type=click.Choice([each.value for each in Severity]),
        default=Severity.WARNING.value,
        show_default=True,
        help="The least severity that ends the command with exit code 1.",
    ),
    click.option("--json", "is_json", is_flag=True, help="Print the report as JSON."),
    click.option("--sarif", "sarif_path", metavar="FILE", type=_PATH, help="Write SARIF."),
    click.option("--junit", "junit_path", metavar="FILE", type=_PATH, help="Write JUnit XML."),
    click.option("--verbose", is_flag=True, help="Say of each rule why it was ruled out or not tested."),
)


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What was asked of the report."""

    rules: tuple[str, ...]
    fail_on: Severity
    is_json: bool
    sarif_path: Path | None
    junit_path: Path | None
    is_verbose: bool


def report_options(command: _Command) -> _Command:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_report_options(given: dict[str, Any]) -> ReportOptions:
    """Take the options out of what click gives to a command."""
    rules = tuple(rule.upper() for rule in given.pop("rules"))
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        fail(f"--only {unknown[0]}: there is no such rule; docs/doctor/README.md lists them", EXIT_USAGE)
    return ReportOptions(
        rules=rules,
        fail_on=Severity(given.pop("fail_on")),
        is_json=given.pop("is_json"),
        sarif_path=given.pop("sarif_path"),
        junit_path=given.pop("junit_path"),
        is_verbose=given.pop("verbose"),
    )


def report_and_exit(verdict: Verdict, options: ReportOptions, *, took_s: float) -> None:
    """Write and print every form that was asked for, and end with the verdict's exit code."""
    if options.sarif_path:
        log = json.dumps(sarif.render(verdict), indent=2, ensure_ascii=False)
        _write(options.sarif_path, log + "\n", "--sarif")
    if options.junit_path:
        document = junit.render(verdict, took_s=took_s, fail_on=options.fail_on)
        _write(options.junit_path, document, "--junit")
    if options.is_json:
        print_json(as_json.render(verdict))
    else:
        _console().print(text.render(verdict, took_s=took_s, is_verbose=options.is_verbose))
    sys.exit(verdict.exit_code)


def _console() -> Any:
    # Sentences, unlike tables of targets, are for reading in a pipe too.
    found = console()
    if not found.is_terminal:
        found.width = 110
    return found


def _write(path: Path, content: str, option: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(f"{option} {path}: cannot be written: {error.strerror}", EXIT_USAGE)
