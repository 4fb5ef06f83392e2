"""One run: a system, a scenario, and what was seen."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from hot_lab import app
from hot_lab.peers import SYSTEMS
from hot_lab.place import Place, tell
from hot_lab.store import Store
from hot_lab.traffic import SCENARIOS, TARGETS, Action, Event, Kind, actions
from hot_lab.users import Crowd, Sample
from lab import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hot_lab.peers import Balancer
    from hot_lab.place import Process
    from hot_lab.traffic import Extent, Scenario

#: A user waits no longer for a page.
PATIENCE_S = 60.0
#: A drained target is stopped after this time.
_STOPPED_AFTER_S = 10.0
_AT_HOME_USERS = 20
_AT_HOME_READS = 5


class Events(NamedTuple):
    """What limpet has counted since its start.

    Attributes:
        moves: sessions that got another home, by cause.
        lent: requests that were served elsewhere, once.
        suspected_logouts: of users who were in and seem to be out.
    """

    moves: dict[str, int]
    lent: int = 0
    suspected_logouts: int = 0


@dataclass
class Seen:
    """What a run has shown.

    Attributes:
        samples: every request.
        lags_s: how late the users' program was.
        store_commands: at the begin and the end of what counts; empty without a store that is shared.
        events: what limpet has counted, at the same times.
        at_home: store commands per page that is only read, by users who stay at their targets; afterwards.
        load: average of the machine, before and after.
    """

    samples: list[Sample] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    store_commands: list[int] = field(default_factory=list)
    events: list[Events] = field(default_factory=list)
    at_home: float | None = None
    load: list[float] = field(default_factory=list)


def run(system: str, scenario: str, extent: Extent, *, is_shared: bool) -> Seen:
    """Run a scenario through a system.

    Args:
        is_shared: sessions are in a store; if not, in each target's memory.
    """
    with Place() as place, ExitStack() as stack:
        store = Store(place.directory, is_shared=is_shared)
        stack.callback(store.close)
        targets = _Targets(place, store.url, extent.service_s)
        targets.come_up(SCENARIOS[scenario].first)
        balancer = SYSTEMS[system].start(place, targets.ports)
        return uvloop.run(_Run(balancer, targets, store, SCENARIOS[scenario], extent).run())


class _Targets:
    # The processes of the fleet, by name.

    def __init__(self, place: Place, store: str, service_s: float) -> None:
        self.ports: Mapping[str, int] = dict(zip(TARGETS, machine.free_ports(len(TARGETS)), strict=True))
        setting = ["env", f"LIMPET_SESSION_STORE={store}", f"LIMPET_SECRET={secrets.token_hex(32)}"]
        setting += ["LIMPET_SESSION_SECURE=0", "LIMPET_NEAR_CACHE=1"]
        self._processes: dict[str, Process] = {}
        for name, port in self.ports.items():
            argv = [*setting, sys.executable, str(app.__file__), name, str(port), str(service_s)]
            self._processes[name] = place.start(
                f"target-{name}", [*argv, str(place.directory / f"{name}.ready")]
            )
        for name, process in self._processes.items():
            process.wait_for_file(place.directory / f"{name}.ready")

    def come_up(self, names: str) -> None:
        for name in names:
            tell(self._processes[name], signal.SIGUSR1)

    def kill(self, names: str) -> None:
        for name in names:
            tell(self._processes[name], signal.SIGKILL)

    def stop(self, names: str) -> None:
        for name in names:
            tell(self._processes[name], signal.SIGTERM)


class _Run:
    def __init__(
        self, balancer: Balancer, targets: _Targets, store: Store, scenario: Scenario, extent: Extent
    ) -> None:
        self._balancer = balancer
        self._targets = targets
        self._store = store
        self._scenario = scenario
        self._extent = extent
        self._seen = Seen()
        self._start_s = 0.0

    async def run(self) -> Seen:
        seen = self._seen
        await self._wait_for_targets()
        planned = actions(self._scenario, self._extent)
        self._start_s = asyncio.get_running_loop().time() - planned[0].due_s + 0.1
        seen.load.append(round(os.getloadavg()[0], 2))
        crowd = Crowd(self._balancer.port, self._start_s, PATIENCE_S)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(crowd.run(planned))
                group.create_task(self._disturb())
                group.create_task(self._look())
            seen.load.append(round(os.getloadavg()[0], 2))
            seen.samples, seen.lags_s = list(crowd.samples), crowd.lags_s
            seen.at_home = await self._at_home(crowd)
        finally:
            crowd.close()
        return seen

    async def _wait_for_targets(self) -> None:
        # Until each target that is up has answered, whoever asks: then the balancer knows them, too.
        missing = set(self._scenario.first)
        async with asyncio.timeout(30):
            for user in range(60_000, 1 << 20):
                if not self._balancer.process.is_running:
                    self._balancer.process.fail("did not start")
                crowd = Crowd(self._balancer.port, 0.0, PATIENCE_S)
                await crowd.run([Action(0.0, user, Kind.READ)])
                crowd.close()
                missing -= {sample.target for sample in crowd.samples}
                if not missing:
                    return
                await asyncio.sleep(0.1)

    async def _until(self, time_s: float) -> None:
        await asyncio.sleep(self._start_s + time_s - asyncio.get_running_loop().time())

    async def _disturb(self) -> None:
        scenario = self._scenario
        await self._until(-self._extent.calm_s if scenario.calm_event else 0.0)
        if scenario.event is Event.UP:
            self._targets.come_up(scenario.to)
        elif scenario.event is Event.KILL:
            self._targets.kill(scenario.to)
        else:
            for name in scenario.to:
                await asyncio.to_thread(self._balancer.drain, name)
            await self._until(_STOPPED_AFTER_S)
            self._targets.stop(scenario.to)

    async def _look(self) -> None:
        for time_s in (self._extent.settle_s, self._extent.end_s):
            await self._until(time_s)
            commands = await asyncio.to_thread(self._store.commands)
            if commands is not None:
                self._seen.store_commands.append(commands)
            if self._balancer.status is not None:
                status = await asyncio.to_thread(self._balancer.status)
                self._seen.events.append(_events(status))

    async def _at_home(self, crowd: Crowd) -> float | None:
        users = [user for user, browser in crowd.browsers.items() if browser.is_in][:_AT_HOME_USERS]
        if self._store.commands() is None or not users:
            return None
        for _ in range(2):  # caches get warm
            await self._read(crowd, users)
        loop = asyncio.get_running_loop()
        began_s, before = loop.time(), self._store.commands() or 0
        for _ in range(_AT_HOME_READS):
            await self._read(crowd, users)
        took_s, after = loop.time() - began_s, self._store.commands() or 0
        # Near-caches ask now and then whether they are still told of changes, however many pages are read.
        await asyncio.sleep(took_s)
        unasked = (self._store.commands() or 0) - after
        return max(0, after - before - unasked) / (_AT_HOME_READS * len(users))

    async def _read(self, crowd: Crowd, users: list[int]) -> None:
        # One after the other: of many at once some would be lent, and not be at home.
        for user in users:
            due_s = asyncio.get_running_loop().time() - self._start_s
            await crowd.run([Action(due_s, user, Kind.READ)])


def _events(status: dict[str, Any]) -> Events:
    [group] = status["target_groups"]
    return Events(
        group.get("moves", {}), group.get("lent", 0), sum(group.get("suspected_logouts", {}).values())
    )
