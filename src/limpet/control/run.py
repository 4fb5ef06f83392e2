"""The process: an event loop, signals, and a balancer from start to end.

SIGTERM and SIGINT drain and exit 0, a second one ends the drain at once; SIGHUP reloads; SIGUSR1
reopens the access log; SIGUSR2 lets a new process take over. All of them are taken from the first
moment: the default of most is death.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import uvloop

from limpet.config import certificates
from limpet.control.admin import AdminServer
from limpet.control.balancer import Balancer
from limpet.control.file_watch import watch_file, watch_files
from limpet.control.inherited import Inherited
from limpet.control.notify import notify_ready, notify_reloading, notify_stopping
from limpet.control.supervise import supervise
from limpet.control.upgrade import UpgradeError, hand_over, say_ready
from limpet.core.address import parse_address
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from limpet.config.schema import Settings
    from limpet.core.address import Address

#: How long a call that asked for an upgrade has to be answered.
_ANSWER_S = 0.1


class Service(Protocol):
    """Something that has to run as long as the balancer does, such as replicas."""

    async def start(self) -> None:
        """Start; the balancer starts after it."""
        ...

    async def stop(self) -> None:
        """Stop; the balancer has stopped before it."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """What the start-up summary tells, once clients are served."""

    balancer: Balancer
    admin: Address | None


def run(
    load: Callable[[], Settings],
    *,
    on_ready: Callable[[Ready], None],
    on_message: Callable[[str], None],
    services: Sequence[Service] = (),
    config_file: Path | None = None,
) -> int:
    """Run a balancer until a signal ends it.

    Args:
        load: reads the settings; called again at each reload.
        on_ready: called once, when clients are served.
        on_message: gets sentences for the operator (reloads, mistakes, what was cut).
        config_file: reloaded when it changes.

    Returns:
        The exit code: 0.

    Raises:
        ConfigError: it could not start.
    """
    return uvloop.run(_run(load, on_ready, on_message, services, config_file))


async def _run(
    load: Callable[[], Settings],
    on_ready: Callable[[Ready], None],
    on_message: Callable[[str], None],
    services: Sequence[Service],
    config_file: Path | None,
) -> int:
    signals = _Signals()
    stopping = signals.stopping
    started: list[Service] = []
    try:
        for service in services:
            started.append(service)
            await _unless(stopping, service.start())
        if not stopping.is_set():
            # What the services started would have to be handed over, too.
            await _Serving(on_message, signals, can_upgrade=not services).run(load, on_ready, config_file)
    finally:
        for service in reversed(started):
            await service.stop()
    return 0


class _Signals:
    """What signals have asked for."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.cutting = asyncio.Event()
        self.reload = asyncio.Event()
        self.upgrade = asyncio.Event()
        self.reopen: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)
        loop.add_signal_handler(signal.SIGUSR2, self.upgrade.set)

    def _reopen(self) -> None:
        self.reopen()

    def _stop(self) -> None:
        if self.stopping.is_set():
            self.cutting.set()
        self.stopping.set()


async def _unless(stopping: asyncio.Event, starting: Coroutine[None, None, None]) -> None:
    # What takes long to start, or never does, must not hold up the end.
    start = asyncio.create_task(starting)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if start.done():
        start.result()
    else:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)


class _Serving:
    # A balancer and its admin listener, from their start to their end.

    def __init__(self, on_message: Callable[[str], None], signals: _Signals, *, can_upgrade: bool) -> None:
        self._on_message = on_message
        self._signals = signals
        self._can_upgrade = can_upgrade
        self._is_handed_over = False
        self._upgrading = asyncio.Lock()

    async def run(
        self,
        load: Callable[[], Settings],
        on_ready: Callable[[Ready], None],
        config_file: Path | None,
    ) -> None:
        signals = self._signals
        inherited = Inherited(dict(os.environ))
        balancer = self._balancer = Balancer(load, on_message=self._on_message, inherited=inherited)
        signals.reopen = lambda: _reopen(balancer)
        admin = self._admin = AdminServer(balancer)
        admin.on_upgrade = self._upgrade if self._can_upgrade else None
        background: list[asyncio.Task[None]] = []
        try:
            if balancer.settings.admin.enabled:
                await admin.start(parse_address(balancer.settings.admin.address), inherited)
            await _unless(signals.stopping, balancer.start())
            if signals.stopping.is_set():
                return
            works = (self._reload_when_wanted, self._upgrade_when_wanted)
            background += [asyncio.create_task(supervise(work, self._on_message)) for work in works]
            if config_file is not None:
                watch_file(config_file, signals.reload.set)
            watch_files(lambda: certificates.files(balancer.settings), signals.reload.set)
            self._tell_start(inherited)
            _settle_collector()
            on_ready(Ready(balancer, admin.bound))
            say_ready()
            notify_ready()
            await signals.stopping.wait()
        finally:
            for task in background:
                task.cancel()
            await self._stop()

    def _tell_start(self, inherited: Inherited) -> None:
        for name in inherited.close():
            self._on_message(f"a socket that was handed to limpet listens at {name}, where no listener is")
        if not self._balancer.keys.is_lasting:
            self._on_message(
                "ticket keys are in memory only: a restart unpins every session; configure keys.file"
            )

    async def _stop(self) -> None:
        balancer = self._balancer
        if self._is_handed_over:  # the successor answers there; status must not come from here
            await self._admin.stop(is_handed_over=True)
        else:
            notify_stopping()
        cut = await balancer.stop(balancer.settings.shutdown_timeout_s, self._signals.cutting)
        if cut:
            self._on_message(f"{cut} requests were cut: they took longer than the shutdown timeout")
        await self._admin.stop()

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._signals.reload.wait()
            self._signals.reload.clear()
            notify_reloading()
            try:
                await self._balancer.reload()
            except ConfigError as error:
                self._on_message("not reloaded, the old configuration goes on:")
                for problem in error.problems:
                    self._on_message(problem)
            else:
                self._on_message("reloaded")
            notify_ready()

    async def _upgrade_when_wanted(self) -> None:
        while True:
            await self._signals.upgrade.wait()
            self._signals.upgrade.clear()
            if not self._can_upgrade:
                self._on_message("no upgrade: this process runs the app as well; stop it and start it again")
                continue
            try:
                await self._upgrade()
            except UpgradeError as error:
                self._on_message(f"no upgrade, this process goes on: {error}")

    async def _upgrade(self) -> int:
        async with self._upgrading:
            if self._signals.stopping.is_set():
                raise UpgradeError("this process is about to end")
            sockets = self._balancer.sockets()
            if self._admin.sockets:
                address = str(parse_address(self._balancer.settings.admin.address))
                sockets.setdefault(address, []).insert(0, self._admin.sockets)
            pid = await hand_over(sockets)
            self._on_message(f"process {pid} serves from now on; this one lets its requests finish")
            self._is_handed_over = True
            self._balancer.handed_over()
            asyncio.get_running_loop().call_later(_ANSWER_S, self._signals.stopping.set)
            return pid


def _settle_collector() -> None:
    # Everything made so far stays: the collector need not look at it again and again.
    # Requests make no cycles, so it need not look often either.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _reopen(balancer: Balancer) -> None:
    try:
        balancer.plane.reopen_log()
    except OSError as error:
        sys.stderr.write(f"limpet: the access log cannot be reopened: {error}\n")
