"""One run against each of some real faulty sites and well ones; `benchmarks/doctor.py` has them all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from limpet.doctor.finding import Severity

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from doctor_lab.faults import CONTROLS, FAULTS, Fault
from doctor_lab.place import Place
from doctor_lab.trial import PASSWORD, examine_site, reports

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = {"A1", "A3", "A7", "A11", "A13", "A16", "A20", "A25", "L2", "L15", "S10", "S8"}
CHOSEN = [each for each in (*FAULTS, *CONTROLS) if each.rule in RULES | {""} and each.stack == "flask"]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Place(CHOSEN) as found:
        yield found


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda each: f"{each.rule}-{each.name}")
def test_the_right_cause_leads_and_nothing_secret_is_told(place: Place, fault: Fault) -> None:
    verdict = examine_site(fault, place.urls[fault.name])
    grave = [each.rule for each in verdict.findings if each.severity is not Severity.NOTE]
    assert grave[:1] == ([fault.rule] if fault.rule else []), verdict.reason
    assert verdict.evidence.used <= 300
    said = reports(verdict)
    assert place.secrets()
    assert not [secret for secret in (*place.secrets(), PASSWORD) if secret in said]
