"""A run: what phases share while they ask a site."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Arm, ArmKind
from limpet.doctor.probe.client import USER_AGENT
from limpet.doctor.probe.visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limpet.doctor.cookie_jar import StoredCookie
    from limpet.doctor.evidence import Visit
    from limpet.doctor.probe.client import Client
    from limpet.doctor.probe.observe import Observer
    from limpet.doctor.probe.plan import Plan
    from limpet.doctor.probe.record import Record


@dataclass
class LoggedIn:
    """A browser that has logged in, and its cookies as they were then.

    Attributes:
        frozen: what it sent to the page right after the login.
        number: of the login, from 1.
    """

    visitor: Visitor
    frozen: list[StoredCookie]
    number: int


@dataclass
class Run:
    """What phases share.

    Attributes:
        tell: says which phase begins.
        sessions: browsers that have logged in, by the number of the login.
    """

    plan: Plan
    client: Client
    observer: Observer
    record: Record
    tell: Callable[[str], None] = lambda _phase: None
    sessions: list[LoggedIn] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The page that differs when logged in."""
        return self.plan.url

    @property
    def left(self) -> int:
        """Requests left in the budget."""
        return self.client.limits.requests - self.client.used

    def newcomer(self) -> Visitor:
        """Return a browser without cookies."""
        return Visitor(self.client, self.observer)

    async def browse(
        self, session: LoggedIn, count: int, *, kind: ArmKind = ArmKind.JAR, note: str = ""
    ) -> Arm:
        """Visit the page as a browser, one visit after the other."""
        visits: list[Visit] = []
        try:
            for number in range(count):
                if self.plan.also and number % 5 == 4:
                    await self._look_aside(session.visitor, number // 5)
                visits.append((await session.visitor.go(self.url))[1])
        finally:
            arm = self.add(kind, session.number, visits, note)
        return self.record.judged(arm)

    async def replay(
        self,
        session: LoggedIn,
        cookies: Sequence[StoredCookie],
        count: int,
        *,
        kind: ArmKind,
        note: str = "",
        url: str = "",
        agent: str = USER_AGENT,
        address: str = "",
        at_once: int = 1,
    ) -> Arm:
        """Visit the page with the same cookies each time.

        Args:
            at_once: how many visits are made together. Processes that share a socket share single
                visits unevenly, and those that come together fairly.
        """
        visits: list[Visit] = []
        try:
            while len(visits) < count:
                together = [
                    session.visitor.replay(url or self.url, cookies, agent=agent, address=address)
                    for _ in range(min(at_once, count - len(visits)))
                ]
                visits += await asyncio.gather(*together)
        finally:
            arm = self.add(kind, session.number, visits, note)
        return self.record.judged(arm)

    def add(self, kind: ArmKind, login: int, visits: Sequence[Visit], note: str = "") -> Arm:
        """Record an arm, whole or not."""
        arm = Arm(kind=kind, login=login, visits=tuple(visits), note=note)
        if visits:
            self.record.arms.append(arm)
        return arm

    async def settle(self, session: LoggedIn) -> bool:
        """Wait until a login is no longer young; return whether it was."""
        since = session.visitor.logged_in_at_s
        wait_s = 0.0 if since is None else since + self.plan.settles_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        return wait_s > 0

    async def _look_aside(self, visitor: Visitor, number: int) -> None:
        url = self.plan.also[number % len(self.plan.also)]
        self.record.aside.append((await visitor.go(url))[1])
