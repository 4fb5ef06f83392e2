"""One run against sites that every run tells right; `benchmarks/doctor.py` has all, and many runs of each."""

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

#: What these lose depends on where chance sends a visit, and one run in some hundreds tells too little
#: to name the cause: how many do is for `benchmarks/doctor.py` to measure, not for one run to prove.
BY_CHANCE = {"A1", "A3", "A6", "A7", "A25", "L21", "S7", "S8"}
CHOSEN = [each for each in (*FAULTS, *CONTROLS) if each.rule not in BY_CHANCE]


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Place(CHOSEN) as found:
        yield found


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda each: f"{each.rule}-{each.name}")
def test_the_right_cause_leads_and_nothing_secret_is_told(place: Place, fault: Fault) -> None:
    trial = try_site(fault, place.urls[fault.name])
    told = [f"{each.rule} {each.evidence}" for each in trial.verdict.findings]
    assert trial.is_right, told or trial.verdict.reason
    assert trial.verdict.evidence.used <= 300
    assert not trial.leaks()
