"""A rehearsal of small apps, in this folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from limpet.doctor.rehearsal.entrance import Credentials
from limpet.doctor.rehearsal.run import Plan, rehearse

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Evidence]:
    """Rehearse an app with two replicas, and return what was seen."""
    monkeypatch.chdir(Path(__file__).parent)

    def run(app: str, *scenes: str, password: str = "sesame", **more: Any) -> Evidence:
        plan = Plan(
            app=app,
            replicas=2,
            environ={"SITE_FOLDER": str(tmp_path)},
            credentials=Credentials(user="ann", password=password),
            scenes=("refresh", *scenes),
            **more,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(rehearse(plan, lambda what, used: None))

    return run
