"""One run against each of the faulty sites and the well ones; `benchmarks/doctor.py` has many of each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from doctor_lab.faults import CONTROLS, FAULTS
from doctor_lab.place import Place
from doctor_lab.trial import try_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doctor_lab.fault import Fault

EVERY = (*FAULTS, *CONTROLS)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Place(EVERY) as found:
        yield found


@pytest.mark.parametrize("fault", EVERY, ids=lambda each: f"{each.rule}-{each.name}")
def test_the_right_cause_leads_and_nothing_secret_is_told(place: Place, fault: Fault) -> None:
    trial = try_site(fault, place.urls[fault.name])
    told = [f"{each.rule} {each.evidence}" for each in trial.verdict.findings]
    assert trial.is_right, told or trial.verdict.reason
    assert trial.verdict.evidence.used <= 300
    assert not trial.leaks()
