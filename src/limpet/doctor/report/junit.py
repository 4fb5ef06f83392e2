"""A verdict as JUnit XML: a test case per rule.

What was not tested is skipped and never passed; an inconclusive run has an error of its own, since
a pipeline that only counts failures would take it for success.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from limpet.doctor.checks import CHECKS
from limpet.doctor.finding import Severity
from limpet.doctor.rules import RULES

if TYPE_CHECKING:
    from limpet.doctor.finding import Finding
    from limpet.doctor.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(verdict: Verdict, *, took_s: float, fail_on: Severity = Severity.WARNING) -> str:
    """Return the document.

    Args:
        fail_on: the least severity that fails a test case.
    """
    suite = ET.Element("testsuite", name=f"limpet {verdict.evidence.command}", time=f"{took_s:.3f}")
    for finding in verdict.findings:
        _add_finding(suite, finding, is_failure=finding.severity.rank <= fail_on.rank)
    for rule in verdict.ruled_out:
        _case(suite, rule)
    for rule, reason in verdict.not_tested.items():
        ET.SubElement(_case(suite, rule), "skipped", message=_clean(reason))
    if verdict.name == "inconclusive":
        case = ET.SubElement(suite, "testcase", classname="limpet", name="conclusive")
        ET.SubElement(case, "error", message=_clean(verdict.reason))
    for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _add_finding(suite: ET.Element, finding: Finding, *, is_failure: bool) -> None:
    case = _case(suite, finding.rule)
    text = _clean("\n".join([*finding.evidence, f"Users see: {finding.users_see}", f"Fix: {finding.fix}"]))
    if finding.location:
        case.set("file", _clean(finding.location.path))
        case.set("line", str(finding.location.line))
    if is_failure:
        message = f"{finding.severity.value}, {finding.confidence.value}"
        ET.SubElement(case, "failure", type=finding.severity.value, message=message).text = text
    else:
        ET.SubElement(case, "system-out").text = text


def _case(suite: ET.Element, rule: str) -> ET.Element:
    title = CHECKS[rule].title if rule in CHECKS else RULES[rule]
    return ET.SubElement(suite, "testcase", classname="limpet", name=f"{rule} {title}")


def _clean(text: str) -> str:
    # XML has no way to write control characters, and a header may hold any.
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
