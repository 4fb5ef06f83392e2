"""One run of the doctor against one site, and everything it says."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from rich.console import Console

from limpet.doctor.probe.client import Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.examine import examine
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.login.json_body import JsonLogin
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.plan import Counts, Plan
from limpet.doctor.probe.safety import Limits, Scope
from limpet.doctor.report import as_json, junit, sarif, text
from limpet.doctor.verdict import judge

if TYPE_CHECKING:
    from doctor_lab.faults import Fault
    from limpet.doctor.verdict import Verdict

PASSWORD = "correct-horse"
#: As a run on loopback has them: no pace, but the budget.
_LIMITS = Limits(300, None, 16)


def examine_site(fault: Fault, url: str, counts: Counts | None = None) -> Verdict:
    """Run the doctor as its command does, with the credentials of ann."""
    kind = FormLogin if fault.stack == "flask" else JsonLogin
    way = kind(url=f"{url}login", username="ann", password=PASSWORD)
    plan = Plan(
        url=url,
        way=way,
        also=(url + fault.also,) if fault.also else (),
        counts=counts or Counts(),
        settles_s=fault.settles_s,
        idle_s=fault.idle_s,
    )
    observer = Observer(Digest(), started_s=time.monotonic(), username="ann")
    return judge(asyncio.run(examine(plan, Client(Scope(url), limits=_LIMITS), observer)))


def reports(verdict: Verdict) -> str:
    """Return every form of the report in one text."""
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(text.render(verdict, took_s=1.0, is_verbose=True))
    forms = [json.dumps(as_json.render(verdict)), json.dumps(sarif.render(verdict))]
    return "\n".join([capture.get(), junit.render(verdict, took_s=1.0), *forms])
