"""A verdict as SARIF 2.1.0, for code scanning.

Only `limpet check` knows lines of the app; a site's findings have its URL as logical location.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limpet import __version__
from limpet.doctor.checks import CHECKS
from limpet.doctor.finding import Severity

if TYPE_CHECKING:
    from limpet.doctor.checks.check import Check
    from limpet.doctor.finding import Finding
    from limpet.doctor.verdict import Verdict

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render(verdict: Verdict) -> dict[str, Any]:
    """Return the log as values that JSON knows."""
    driver = {
        "name": "limpet",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(check) for check in CHECKS.values()],
    }
    invocation = {
        "executionSuccessful": verdict.name != "inconclusive",
        "exitCode": verdict.exit_code,
        "exitCodeDescription": verdict.reason or verdict.name,
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": [_result(each, verdict.evidence.url) for each in verdict.findings],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.rule,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": f"{check.title}; found by: {check.mode.value}"},
        "help": {"text": f"{check.title}. Described in docs/doctor/{check.rule}.md; see also {check.source}"},
        "helpUri": check.source,
    }


def _result(finding: Finding, url: str) -> dict[str, Any]:
    told = [*finding.evidence, f"Users see: {finding.users_see}", f"Fix: {finding.fix}"]
    return {
        "ruleId": finding.rule,
        "ruleIndex": list(CHECKS).index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join([CHECKS[finding.rule].title, *told])},
        "locations": [_location(finding, url)],
        "properties": {"confidence": finding.confidence.value, "rivals": list(finding.rivals)},
    }


def _location(finding: Finding, url: str) -> dict[str, Any]:
    place = finding.location
    if place is None:
        return {"logicalLocations": [{"name": url, "kind": "resource"}]}
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": place.path},
            "region": {"startLine": place.line},
        }
    }
