"""The process: an event loop, signals, and a balancer from start to end.

SIGTERM and SIGINT drain and exit 0, a second one ends the drain at once; SIGHUP reloads; SIGUSR1
reopens the access log. All of them are taken from the first moment: the default of most is death.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import uvloop

from limpet.control.admin import AdminServer
from limpet.control.balancer import Balancer
from limpet.control.file_watch import watch_file
from limpet.control.supervise import supervise
from limpet.core.address import parse_address
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from limpet.config.schema import Settings
    from limpet.core.address import Address


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
            await _serve(load, on_ready, on_message, signals, config_file)
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
        self.reopen: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self._reopen)

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


async def _serve(
    load: Callable[[], Settings],
    on_ready: Callable[[Ready], None],
    on_message: Callable[[str], None],
    signals: _Signals,
    config_file: Path | None,
) -> None:
    balancer = Balancer(load, on_message=on_message)
    signals.reopen = lambda: _reopen(balancer)
    admin = AdminServer(balancer)
    try:
        if balancer.settings.admin.enabled:
            await admin.start(parse_address(balancer.settings.admin.address))
        await _unless(signals.stopping, balancer.start())
        if signals.stopping.is_set():
            return
        background = asyncio.create_task(
            supervise(lambda: _reload_when_wanted(balancer, on_message, signals.reload), on_message)
        )
        if config_file is not None:
            watch_file(config_file, signals.reload.set)
        if not balancer.keys.is_lasting:
            on_message("ticket keys are in memory only: a restart unpins every session; configure keys.file")
        # Everything made so far stays: the collector need not look at it again and again.
        # Requests make no cycles, so it need not look often either.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        on_ready(Ready(balancer, admin.bound))
        await signals.stopping.wait()
        background.cancel()
    finally:
        cut = await balancer.stop(balancer.settings.shutdown_timeout_s, signals.cutting)
        if cut:
            on_message(f"{cut} requests were cut: they took longer than the shutdown timeout")
        await admin.stop()


async def _reload_when_wanted(
    balancer: Balancer, on_message: Callable[[str], None], wanted: asyncio.Event
) -> None:
    while True:
        await wanted.wait()
        wanted.clear()
        try:
            await balancer.reload()
        except ConfigError as error:
            on_message("not reloaded, the old configuration goes on:")
            for problem in error.problems:
                on_message(problem)
        else:
            on_message("reloaded")


def _reopen(balancer: Balancer) -> None:
    try:
        balancer.plane.reopen_log()
    except OSError as error:
        sys.stderr.write(f"limpet: the access log cannot be reopened: {error}\n")
