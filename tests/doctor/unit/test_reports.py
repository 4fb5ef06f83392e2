"""Each form of report says the same: findings, what was ruled out, what was not tested."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from rich.console import Console
from seen_kit import FLASK, arm, seen

from limpet.doctor.evidence import Evidence, SourceFact
from limpet.doctor.report import as_json, junit, sarif, text
from limpet.doctor.verdict import judge

SICK = judge(
    seen(arm("F", "X.X.XX.X.XX.X.X."), cookie=FLASK, url="https://app.example/", used=171, budget=300)
)
PLACED = judge(
    seen(
        arm("F", "X.X.XX.X.XX.X.X."),
        cookie=FLASK,
        sources=(SourceFact(kind="secret_made_at_import", path="app.py", line=7),),
    )
)
NOTHING = judge(Evidence(url="https://app.example/"))


def printed(verdict: object, **more: bool) -> str:
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(text.render(verdict, took_s=38.0, **more))  # type: ignore[arg-type]
    return capture.get()


def test_text_names_the_cause_its_evidence_and_the_fix() -> None:
    said = printed(SICK)
    assert "ERROR  A3   replicas do not share the signing key  likely" in said
    assert "one unchanged cookie: in 7, out 9 of 16" in said
    assert 'app.secret_key = os.environ["SECRET_KEY"]' in said
    assert "171 requests, 38 s" in said
    assert "Ruled out" in said
    assert "Not tested" in said


def test_text_never_says_that_a_site_is_well_without_evidence() -> None:
    said = printed(NOTHING, is_verbose=True)
    assert "INCONCLUSIVE  no login was given" in said
    assert "No loss seen" not in said


def test_json_has_the_keys_of_the_contract() -> None:
    value = json.loads(json.dumps(as_json.render(SICK)))
    assert value["schema"] == 1
    assert value["verdict"] == "findings"
    finding = value["findings"][0]
    assert {"rule", "severity", "confidence", "evidence", "fix", "source"} <= set(finding)
    assert (finding["rule"], finding["severity"], finding["confidence"]) == ("A3", "error", "likely")
    assert "A1" in {each["rule"] for each in value["ruled_out"]}
    assert value["not_tested"]
    assert value["arms"][0]["sequence"] == "X.X.XX.X.XX.X.X."


def test_sarif_points_at_a_line_or_at_the_url() -> None:
    (run,) = json.loads(json.dumps(sarif.render(PLACED)))["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("app.py", 7)
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "A3"
    (run,) = sarif.render(SICK)["runs"]
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["name"] == "https://app.example/"


def test_junit_skips_what_was_not_tested_and_passes_nothing_unseen() -> None:
    suite = ET.fromstring(junit.render(SICK, took_s=1.0)).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1"
    assert [case.get("name") for case in suite if case.find("failure") is not None] == [
        "A3 replicas do not share the signing key"
    ]
    suite = ET.fromstring(junit.render(NOTHING, took_s=1.0)).find("testsuite")
    assert suite is not None
    assert suite.get("errors") == "1"
    assert all(len(case) for case in suite), "a rule passed though nothing was seen"


def test_junit_takes_any_character() -> None:
    odd = judge(Evidence(url="x", stopped="the site said \x00\x1b"))
    ET.fromstring(junit.render(odd, took_s=0.0))
