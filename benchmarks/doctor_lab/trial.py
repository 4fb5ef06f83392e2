"""One run of the doctor against one site: what it says, and whether that is right."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from limpet.doctor.cookie_jar import read_set_cookie
from limpet.doctor.finding import Severity
from limpet.doctor.probe.client import Client
from limpet.doctor.probe.digest import Digest
from limpet.doctor.probe.examine import examine
from limpet.doctor.probe.login.form import FormLogin
from limpet.doctor.probe.login.json_body import JsonLogin
from limpet.doctor.probe.observe import Observer
from limpet.doctor.probe.plan import Plan
from limpet.doctor.probe.safety import Limits, Scope
from limpet.doctor.report import as_json, junit, sarif, text
from limpet.doctor.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Collection

    from doctor_lab.fault import Fault
    from limpet.doctor.probe.client import Reply
    from limpet.doctor.verdict import Verdict

PASSWORD = "correct-horse"
#: As a run on loopback has them: no pace, but the budget.
_LIMITS = Limits(300, None, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the doctor said of a site.

    Attributes:
        secrets: what no report may say: the password, and the value of every cookie that was set.
    """

    fault: Fault
    verdict: Verdict
    secrets: frozenset[str]
    took_s: float

    @property
    def first(self) -> str:
        """The cause that leads the report; "" if there is none."""
        return self.verdict.findings[0].rule if self.verdict.findings else ""

    @property
    def is_right(self) -> bool:
        """Whether the cause leads; of a well site, whether no error and at most one warning is told."""
        if self.fault.rule:
            return self.first == self.fault.rule
        return not self.told(Severity.ERROR) and len(self.told(Severity.WARNING)) <= 1

    def told(self, severity: Severity) -> list[str]:
        """Return the causes of a severity."""
        return [each.rule for each in self.verdict.findings if each.severity is severity]

    def leaks(self) -> list[str]:
        """Return the secrets that stand in a report."""
        said = reports(self.verdict)
        return sorted(secret for secret in self.secrets if secret in said)


class _Listener(Client):
    """Keeps what the site gave out, which the doctor itself forgets."""

    values: set[str]

    async def send(self, url: str, **how: Any) -> Reply:
        reply = await super().send(url, **how)
        lines = (read_set_cookie(value) for name, value in reply.headers if name == "set-cookie")
        self.values |= {cookie.value for cookie in lines if cookie is not None}
        return reply


def try_site(fault: Fault, url: str) -> Trial:
    """Run the doctor as its command does, with the credentials of ann."""
    started_s = time.monotonic()
    kind = FormLogin if fault.stack == "flask" else JsonLogin
    way = kind(url=f"{url}login", username="ann", password=PASSWORD)
    plan = Plan(
        url=url,
        way=way,
        also=(url + fault.also,) if fault.also else (),
        settles_s=fault.settles_s,
        idle_s=fault.idle_s,
    )
    client = _Listener(Scope(url), limits=_LIMITS)
    client.values = {PASSWORD}
    observer = Observer(Digest(), started_s=started_s, username="ann")
    verdict = judge(asyncio.run(examine(plan, client, observer)))
    took_s = time.monotonic() - started_s
    return Trial(fault=fault, verdict=verdict, secrets=_secrets(client.values), took_s=took_s)


def _secrets(values: Collection[str]) -> frozenset[str]:
    # An empty value is a deletion.
    return frozenset(value for value in values if value)


def reports(verdict: Verdict) -> str:
    """Return every form of the report in one text."""
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(text.render(verdict, took_s=1.0, is_verbose=True))
    forms = [json.dumps(as_json.render(verdict)), json.dumps(sarif.render(verdict))]
    return "\n".join([capture.get(), junit.render(verdict, took_s=1.0), *forms])
