"""The stage: servers, balancer, store and crowd, and all that can be done to them.

Theory of operation. One event loop runs the balancer, as `limpet serve` does, and the crowd; servers and
store are processes. `begin` starts an act. Each event checks first whether it makes sense now: `why_not`
gives the reason, for the page's buttons as for whoever calls. One action is carried out at a time. What
follows later (the end of an influx, of a silence) is a task of the act, and is undone if the act ends
before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from limpet.control.admin import AdminServer
from limpet.control.balancer import Balancer
from limpet.control.supervise import supervise
from limpet.core.address import parse_address
from limpet.core.target import Health
from limpet.demo.act import Act
from limpet.demo.crowd import INFLUX_S, Crowd
from limpet.demo.ending import end
from limpet.demo.fleet import Fleet
from limpet.demo.modes import GROUP, MODES, settings
from limpet.demo.names import PAGE_PORT_VARIABLE
from limpet.demo.store import start_store
from limpet.demo.tally import SETTLING_S
from limpet.errors import LimpetError
from limpet.replicas.replica import AppSettings
from limpet.sessions.service import SECRET_VARIABLE, SECURE_VARIABLE, STORE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from limpet.config.schema import Settings
    from limpet.core.target import TargetState
    from limpet.demo.store import SharedStore
    from limpet.demo.tally import Figures
    from limpet.demo.visitor import Visitor

#: Servers that take new people while an influx comes.
OPEN_IN_INFLUX = ("A", "B")
#: How long the store is silent.
SILENCE_S = 3.0
_TICK_S = 0.25
_SHUTDOWN_S = 1.0
_APP = "limpet.demo.shop:app()"


class NotNowError(LimpetError):
    """An event that makes no sense at the moment; the message says why."""


class Stage:
    """See the theory of operation.

    Args:
        shop: HOST:PORT on which the shop is served; port 0 lets the system choose.
        admin: HOST:PORT of the admin listener.
        people: how many are there from the beginning.
        page_port: of the demo's page, for the shop's link to it.
        secret: of the sessions.

    Attributes:
        act: the one going on.
        records: figures of the modes that have been on; the current one's are in `act`.
        updating: servers that take no new people now.
    """

    def __init__(
        self,
        shop: str,
        admin: str,
        people: int,
        page_port: int,
        secret: str,
        on_message: Callable[[str], None],
    ) -> None:
        self.updating: tuple[str, ...] = ()
        self.records: dict[str, tuple[Figures, int | None]] = {}
        self.act: Act
        self.fleet: Fleet
        self.store: SharedStore
        self.balancer: Balancer
        self.crowd: Crowd
        self.admin: AdminServer
        self._shop = shop
        self._admin = admin
        self._people = people
        self._page_port = page_port
        self._secret = secret
        self._on_message = on_message
        self._mode = MODES["off"]
        self._lock = asyncio.Lock()
        self._later: set[asyncio.Task[None]] = set()
        self._calm = asyncio.Event()
        self._base_commands: int | None = None
        self._serving: frozenset[str] = frozenset()
        self._closing = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything, and the first act: no stickiness.

        Raises:
            ConfigError: an address cannot be bound.
            ReplicaError: a server could not be started.
        """
        self.store = await start_store()
        self._closing.push_async_callback(self.store.close)
        environ = {
            STORE_VARIABLE: self.store.url,
            SECRET_VARIABLE: self._secret,
            SECURE_VARIABLE: "0",
            PAGE_PORT_VARIABLE: str(self._page_port),
        }
        self.fleet = Fleet(AppSettings(app=_APP, interface="asgi", environ=environ))
        self._closing.push_async_callback(self.fleet.stop)
        await self.fleet.start()
        self.balancer = Balancer(self._load, on_message=self._on_message)
        self._closing.push_async_callback(self.balancer.stop, _SHUTDOWN_S)
        await self.balancer.start()
        self.admin = AdminServer(self.balancer)
        self._closing.push_async_callback(self.admin.stop)
        await self.admin.start(parse_address(self._admin))
        self.crowd = Crowd(self._people, self.shop_url)
        self._closing.push_async_callback(self._end_act)
        await self._begin("off")
        ticking = asyncio.create_task(supervise(self._tick_on, self._on_message))
        self._closing.push_async_callback(end, ticking)

    async def stop(self) -> None:
        """End everything."""
        await self._closing.aclose()

    @property
    def shop_port(self) -> int:
        """Where the shop is served."""
        (bound,) = self.balancer.bound.values()
        return bound.port or 0

    @property
    def shop_url(self) -> str:
        """Where the crowd finds the shop, on this machine."""
        (bound,) = self.balancer.bound.values()
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bound.host or "")
        return f"http://{host}:{bound.port}" if host else f"http://{bound}"

    # what can be done

    async def begin(self, mode: str) -> None:
        """Begin an act."""
        async with self._lock:
            await self._end_act()
            await self._begin(mode)

    async def influx(self) -> None:
        """Let a crowd come while only two servers take new people."""
        async with self._lock:
            self._check("influx")
            act = self.act
            act.had_influx = act.is_pouring = True
            self.updating = tuple(n for n in self._serving if n not in OPEN_IN_INFLUX)
            self._weigh(0)
            coming = self.crowd.influx(act)
            closed = ", ".join(sorted(self.updating)) or "no server"
            act.happened(
                "influx",
                f"{len(coming)} more people arrive; {closed} are being updated and take no new ones.",
                INFLUX_S,
            )
            self._later_on(self._end_influx(coming))

    async def kill(self) -> None:
        """Kill A without a warning; limpet starts it again."""
        async with self._lock:
            self._check("kill")
            self.fleet.kill("A")
            self.act.happened("kill", "A is killed (SIGKILL). What it had in memory is gone.")

    async def drain(self) -> None:
        """Take B out of service, or back."""
        async with self._lock:
            if "B" in self.fleet.drained:
                self.fleet.drained.discard("B")
                await self.balancer.reload()
                self.act.happened("add", "B is back in service.")
                return
            self._check("drain")
            self.fleet.drained.add("B")
            self.balancer.state.drain(GROUP, "B")
            self.act.happened("drain", "B is drained: it answers what it was asked, and gets nothing more.")

    async def add(self) -> None:
        """Start a sixth server, F."""
        async with self._lock:
            self._check("add")
            await self.fleet.add()
            await self.balancer.reload()
            self.act.happened("add", "F is added: one more server, and empty.")

    async def freeze(self) -> None:
        """Keep the store silent for some seconds."""
        async with self._lock:
            self._check("freeze")
            self.act.is_store_silent = True
            self.store.stop()
            self.act.happened("freeze", "The store is silent for three seconds.", SILENCE_S)
            self._later_on(self._end_silence())

    async def pause(self) -> None:
        """Let the crowd rest, or go on."""
        if self.crowd.running.is_set():
            self.crowd.running.clear()
        else:
            self.crowd.running.set()
            self.act.tally.unsettle(time.monotonic())

    def why_not(self, event: str) -> str:
        """Return why an event makes no sense now; "" if it does."""
        act = self.act
        is_dead = self.fleet.replica("A").pid is None or "A" not in self._serving
        reasons = {
            "influx": "The crowd is here already; begin another act." if act.had_influx else "",
            "kill": "A is dead already." if is_dead else "",
            "drain": "B is being updated." if "B" in self.updating else "",
            "add": "F is there already." if self.fleet.extra is not None else "",
            "freeze": self._why_no_freeze(),
        }
        return reasons[event]

    def server_state(self, name: str) -> str:
        """Return "drained", "dead", "starting", "updating" or "serving"."""
        if name in self.fleet.drained:
            return "drained"
        if self.fleet.replica(name).pid is None:
            return "dead"
        state = self._targets().get(name)
        if state is None or state.health is not Health.HEALTHY:
            return "starting"
        return "updating" if name in self.updating else "serving"

    def in_flight(self, name: str) -> int:
        """Return the requests that a server is working on or that wait for it."""
        state = self._targets().get(name)
        return state.in_flight if state is not None else 0

    async def settled(self) -> None:
        """Wait until nothing goes on that ends by itself, and A is back if it was killed."""
        self._calm.clear()
        await self._calm.wait()

    # acts

    async def _begin(self, mode: str) -> None:
        self._mode = MODES[mode]
        await self.balancer.reload()
        self.act = Act(self._mode, self.fleet)
        self._base_commands = await self.store.commands()
        self.crowd.start(self.act)

    async def _end_act(self) -> None:
        if hasattr(self, "act"):
            self.records[self.act.mode.name] = (self.act.tally.figures(), self.act.commands)
        await self.crowd.stop()
        await end(*self._later)
        self._reopen()
        if hasattr(self, "act") and self.act.is_store_silent:
            self._let_store_answer()
        self.fleet.drained.clear()
        self.fleet.remove_extra()

    async def _end_influx(self, coming: list[Visitor]) -> None:
        began_s = time.monotonic()
        await asyncio.gather(*[person.arrived.wait() for person in coming])
        self._reopen()
        self.act.is_pouring = False
        now_s = time.monotonic()
        # Who waits in line at A and B is served first: half the rush, where the machine is slow.
        self.act.tally.unsettle(now_s, max((now_s - began_s) / 2 - SETTLING_S, 0.0))
        self.act.note("event", "The updates are done: every server takes new people again.")

    async def _end_silence(self) -> None:
        await asyncio.sleep(SILENCE_S)
        self._let_store_answer()
        self.act.note("event", "The store answers again.")

    def _let_store_answer(self) -> None:
        self.store.go_on()
        self.act.is_store_silent = False

    def _reopen(self) -> None:
        self._weigh(1)
        self.updating = ()

    def _weigh(self, weight: int) -> None:
        for name in self.updating:
            if name in self._targets():
                self.balancer.state.set_weight(GROUP, name, weight)

    def _later_on(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _check(self, event: str) -> None:
        if reason := self.why_not(event):
            raise NotNowError(reason)

    def _why_no_freeze(self) -> str:
        if not self.store.can_stop:
            return self.store.note
        if self.act.mode.sessions == "memory":
            return "Nobody uses the store now: logins are in each server's memory."
        return "It is silent already." if self.act.is_store_silent else ""

    # what goes on by itself

    def _load(self) -> Settings:
        return settings(self._mode, self._shop, self.fleet.targets())

    def _targets(self) -> dict[str, TargetState]:
        return self.balancer.state.groups[GROUP].targets

    async def _tick_on(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            await self.tick()

    async def tick(self) -> None:
        """Look at what has changed by itself."""
        act = self.act
        names = [replica.name for replica in self.fleet.replicas]
        serving = frozenset(n for n in names if self.server_state(n) in {"serving", "updating"})
        now_s = time.monotonic()
        if serving != self._serving:
            for name in sorted(serving - self._serving if self._serving else ()):
                act.note("event", f"{name} serves.")
            self._serving = serving
            act.tally.unsettle(now_s)
        act.tally.tick(now_s, serving)
        if not self._later and "A" in serving:
            self._calm.set()
        commands = await self.store.commands()
        if commands is not None and act is self.act:
            act.commands = commands - (self._base_commands or 0)
