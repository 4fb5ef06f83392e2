"""The balancer: settings in, a running data plane out.

Theory of operation. `start` and `reload` read the settings, do all I/O that may fail (keys,
error pages, DNS, new listeners), and only then change anything: a configuration with a mistake
leaves the old one running. After that, health checks, DNS look-ups and commands change the state
through `State`, whose every change hands the data plane a new snapshot.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from random import Random
from typing import TYPE_CHECKING

from limpet.config import compile as compiled
from limpet.config.warnings import warnings
from limpet.control import certificates, discovery, sockets
from limpet.control.discovery.membership import Membership
from limpet.control.health_checker import HealthChecker
from limpet.control.keys import LoadedKeys, load_keys
from limpet.control.plane.local import NOTHING, LocalPlane
from limpet.control.plane.workers import Workers
from limpet.control.state import State
from limpet.control.supervise import supervise
from limpet.control.tracing import check_tracing
from limpet.core.stickiness.settings import Sealing
from limpet.errors import ConfigError
from limpet.proxy.access_log import AccessLog

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection

    from limpet.config.schema import AccessLogSettings, Settings
    from limpet.control.discovery.contract import LookUp
    from limpet.control.inherited import Inherited
    from limpet.control.plane.contract import DataPlane
    from limpet.core.address import Address
    from limpet.core.model import Forwarding, Listener, Snapshot, TargetGroup
    from limpet.core.target import Target, TargetState
    from limpet.core.tls import TargetTls
    from limpet.errors import ErrorKind

#: How long listening waits for the first round of health checks.
_FIRST_ROUND_S = 2.0
_TICK_S = 0.25
_DAY_S = 86400


def _to_stderr(message: str) -> None:
    sys.stderr.write(f"limpet: {message}\n")


class Balancer:
    """A running balancer; made and used inside a running event loop.

    Args:
        load: reads the settings anew; raises ConfigError.
        look_up: finds the addresses of names; `discovery.resolver` if absent.
        on_message: gets sentences for the operator.
        inherited: sockets that listen already.

    Attributes:
        settings: the current ones.
        membership: who belongs to each group, and says so.
        plane: the data plane.
        snapshot: what it was given last.
        state: of the targets.
        keys: where the keys of tickets came from.
        bound: addresses that are listened on, by listener.
        reloads, refused_reloads: how often a reload succeeded, and how often nothing was changed.
    """

    def __init__(
        self,
        load: Callable[[], Settings],
        look_up: LookUp | None = None,
        on_message: Callable[[str], None] = _to_stderr,
        inherited: Inherited | None = None,
    ) -> None:
        self._load = load
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self.membership = Membership(look_up or discovery.look_up, self._exchange, on_message)
        self._tasks: list[asyncio.Task[None]] = []
        self._reload_lock = asyncio.Lock()
        self.settings = load()
        self.keys: LoadedKeys = load_keys(self.settings.keys)
        self.started_s = time.monotonic()
        self.reloads = 0
        self.refused_reloads = 0
        self.bound: dict[Listener, Address] = {}
        self._sockets: dict[Address, list[socket.socket]] = {}
        self._inherited = inherited
        self._is_handed_over = False
        self.snapshot = NOTHING
        self.state = State(self._publish, self._forget)
        self.checker = HealthChecker(Random(secrets.randbits(64)), self._health_changed)  # noqa: S311  # jitter
        _check_log(self.settings.access_log)
        check_tracing(self.settings.tracing)
        workers = self.settings.workers
        self.plane: DataPlane = (
            LocalPlane(self._target_error)
            if workers == 1
            else Workers(workers, self._target_error, on_message)
        )

    async def start(self) -> None:
        """Check the targets once, then listen.

        Raises:
            ConfigError: an address cannot be bound, or a file cannot be read.
        """
        async with self._reload_lock:  # the admin listener may be there already
            listeners = _listeners(self.settings)
            await self.membership.prepare(self.settings)
            await self.plane.start()
            self._use_log(self.settings.access_log)
            self.plane.use_tracing(self.settings.tracing)
            forwarding, tls = _forwarding(self.settings), _target_tls(self.settings)
            targets = self.membership.use(self.settings)
            self.state.apply(self.settings, self._sealing(self.keys), targets, listeners, forwarding, tls)
            self._warn(self.settings)
            self.checker.watch(self.state.groups)
            await self.checker.first_round(_FIRST_ROUND_S)
            await self._open(listeners)
        self._tasks = [
            asyncio.create_task(supervise(work, self._on_message)) for work in (self._tick, self._warn_daily)
        ]

    async def reload(self) -> None:
        """Read the settings again and make them the current ones.

        Raises:
            ConfigError: with every mistake; nothing was changed.
        """
        async with self._reload_lock:
            try:
                await self._reload()
            except ConfigError:
                self.refused_reloads += 1
                raise
            finally:
                self.membership.keep()
            self.reloads += 1

    async def _reload(self) -> None:
        settings = self._load()
        keys = load_keys(settings.keys, self.keys)
        forwarding = _forwarding(settings)
        listeners = _listeners(settings)
        tls = _target_tls(settings)
        check_tracing(settings.tracing)
        await self.membership.prepare(settings)
        is_same_log = settings.access_log == self.settings.access_log
        if not is_same_log:
            _check_log(settings.access_log)
        # Nothing that may fail comes after the listeners, and they undo what they did.
        changed = _changed(self.bound, listeners)
        await self._open([x for x in listeners if x not in self.bound and x not in changed.values()])
        self._relisten(changed, listeners)
        targets = self.membership.use(settings)
        self.state.apply(settings, self._sealing(keys), targets, listeners, forwarding, tls)
        if not is_same_log:
            self._use_log(settings.access_log)
        if settings.tracing != self.settings.tracing:
            self.plane.use_tracing(settings.tracing)
        if settings.workers != self.settings.workers:
            self._on_message("workers: another number of them needs a restart")
        self.settings, self.keys = settings, keys
        self._warn(settings)
        self.checker.watch(self.state.groups)

    async def stop(self, timeout_s: float, cutting: asyncio.Event | None = None) -> int:
        """Stop listening, let requests finish, then stop everything.

        Args:
            cutting: once set, requests are not waited for any longer.

        Returns:
            How many requests were cut.
        """
        self.membership.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for bound in list(self._sockets):
            self._close(bound)
        cut = await self.plane.drain(timeout_s, cutting)
        await self.checker.stop()
        return cut

    def add(self, group_name: str, target: Target) -> None:
        """Register a target, or change it."""
        self.state.add(group_name, target)
        self.checker.watch(self.state.groups)

    def set_maintenance(self, group_name: str, state: TargetState, *, is_on: bool) -> None:
        """Take a target out of service, or back; what comes back is checked at once."""
        self.state.set_maintenance(group_name, state.id, is_on=is_on)
        if not is_on:
            self.checker.check_anew(state)
            self.checker.watch(self.state.groups)

    # what happens meanwhile

    def _publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.plane.use(snapshot, self.state.groups)

    def _forget(self, state: TargetState) -> None:
        self.plane.forget(state)
        self.checker.watch(self.state.groups)

    def _health_changed(self, group_name: str, state: TargetState) -> None:
        self.state.health_changed(group_name, state)

    def _target_error(self, group: TargetGroup, target: TargetState, kind: ErrorKind) -> None:
        kept = self.state.groups.get(group.name)
        if kept is not None:
            self.checker.request_failed(kept, target, kind)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.plane.refresh()
            self.membership.tick()
            self.state.tick()

    async def _warn_daily(self) -> None:
        while True:
            await asyncio.sleep(_DAY_S)
            self._warn_of_certificates()

    def _warn_of_certificates(self) -> None:
        snapshot = self.snapshot
        targets = {name: group.tls for name, group in snapshot.groups.items()}
        for warning in certificates.warnings(snapshot.listeners, targets, time.time()):
            self._on_message(f"warning: {warning}")

    def _exchange(self, group_name: str, before: list[Target], after: list[Target]) -> None:
        self.state.exchange(group_name, before, after)
        self.checker.watch(self.state.groups)

    # reading settings

    def _sealing(self, keys: LoadedKeys) -> Sealing:
        return Sealing(keys.ring, os.urandom)

    def _relisten(self, changed: dict[Listener, Listener], wanted: tuple[Listener, ...]) -> None:
        for old, new in changed.items():
            self.bound[new] = self.bound.pop(old)
            self.plane.relisten(self.bound[new], new)
        for listener in [x for x in self.bound if x not in wanted]:
            bound = self.bound.pop(listener)
            self.plane.close(bound)
            self._close(bound)

    def sockets(self) -> dict[str, list[list[socket.socket]]]:
        """Return the listening sockets by address as configured, for a process that takes over."""
        found: dict[str, list[list[socket.socket]]] = {}
        for listener, bound in self.bound.items():
            found.setdefault(str(listener.address), []).append(self._sockets[bound])
        return found

    def tell(self, message: str) -> None:
        """Tell the operator something."""
        self._on_message(message)

    def handed_over(self) -> None:
        """Note that another process listens on the sockets from now on."""
        self._is_handed_over = True

    def _close(self, bound: Address) -> None:
        sockets.close(self._sockets.pop(bound), None if self._is_handed_over else bound.path)

    async def _open(self, listeners: list[Listener] | tuple[Listener, ...]) -> None:
        opened: list[Listener] = []
        for listener in listeners:
            try:
                await self._listen(listener)
            except OSError as error:
                for done in opened:
                    bound = self.bound.pop(done)
                    self.plane.close(bound)
                    self._close(bound)
                reason = error.strerror or str(error)
                raise ConfigError(
                    [f"listeners: {listener.address} cannot be bound ({reason}); choose a free address"]
                ) from None
            opened.append(listener)

    async def _listen(self, listener: Listener) -> None:
        listening = self._inherited.claim(listener.address) if self._inherited is not None else []
        if not listening:  # in a thread, for a name has to be looked up
            listening = await asyncio.to_thread(sockets.listen, listener.address)
        bound = sockets.bound_address(listener.address, listening)
        await self.plane.open(bound, listener, listening)
        self.bound[listener], self._sockets[bound] = bound, listening

    def _warn(self, settings: Settings) -> None:
        for warning in warnings(settings):
            self._on_message(f"warning: {warning}")
        self._warn_of_certificates()

    def _use_log(self, settings: AccessLogSettings) -> None:
        try:
            self.plane.use_log(settings)
        except OSError as error:
            self._on_message(f"the access log cannot be opened: {error}")


def _changed(bound: Collection[Listener], wanted: tuple[Listener, ...]) -> dict[Listener, Listener]:
    # An address that is kept is not bound again: what it serves changes under it.
    left = {old.address: old for old in bound if old not in wanted}
    new = [listener for listener in wanted if listener not in bound]
    return {left.pop(listener.address): listener for listener in new if listener.address in left}


def _listeners(settings: Settings) -> tuple[Listener, ...]:
    return tuple(compiled.listener(settings, number) for number in range(len(settings.listeners)))


def all_warnings(settings: Settings) -> list[str]:
    """Return all that a configuration without mistakes gives cause to tell.

    Raises:
        ConfigError: a file has changed since it was checked.
    """
    found = certificates.warnings(_listeners(settings), _target_tls(settings), time.time())
    return [*warnings(settings), *found]


def _target_tls(settings: Settings) -> dict[str, TargetTls]:
    return {name: compiled.target_tls(name, group) for name, group in settings.target_groups.items()}


def _forwarding(settings: Settings) -> Forwarding:
    try:
        return compiled.forwarding(settings)
    except OSError as error:
        raise ConfigError(
            [f"error_pages: {error.filename} cannot be read ({error.strerror}); correct it"]
        ) from None


def _check_log(settings: AccessLogSettings) -> None:
    if settings.path == "off":
        return
    try:
        AccessLog(settings.path, settings.format).close()
    except OSError as error:
        reason = error.strerror
        raise ConfigError(
            [f"access_log.path: {settings.path!r} cannot be opened ({reason}); correct the path"]
        ) from None
