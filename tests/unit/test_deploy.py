"""The files in deploy/ say what is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from limpet.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text())
KNOWN = set(re.findall(r"`(limpet_[a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text()))
SOURCE = (ROOT / "src" / "limpet" / "control" / "metrics.py").read_text()


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    asked = {
        re.sub(r"_bucket$", "", name)
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"limpet_[a-z_]+", target["expr"])
    }
    assert len(asked) > 12
    assert asked <= KNOWN


def test_panels_have_places_of_their_own() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


def test_every_metric_is_explained() -> None:
    made = set(re.findall(r'"(limpet(?:_[a-z]+)*)",? ', SOURCE.replace("\n", " ")))
    for name in made:
        assert name in KNOWN or f"{name}_total" in KNOWN or f"{name}_info" in KNOWN, name


@pytest.mark.parametrize("name", ["limpet.service", "limpet.socket"])
def test_units_have_sections_and_pairs(name: str) -> None:
    section = ""
    for line in (ROOT / "deploy" / name).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line
        else:
            assert section
            assert "=" in line
            assert not line.endswith(" ")


def test_the_unit_and_the_container_run_a_command_that_there_is() -> None:
    unit = (ROOT / "deploy" / "limpet.service").read_text()
    found = re.search(r"ExecStart=\S+/limpet (\w+) ", unit)
    assert found is not None
    assert found[1] in COMMANDS
    assert '["up", ' in (ROOT / "deploy" / "Containerfile").read_text()
