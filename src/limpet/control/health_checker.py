"""Active health checks: one task per target, so that a hung target delays no other's checks.

A check is a GET on a connection of its own, read by the same strict parser as everything else.
Only the status counts; the body is not waited for. Intervals are monotonic and spread by chance,
so that the checks of many balancers do not fall on a target at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from limpet import __version__
from limpet.config import compile as compiled
from limpet.core.session_state import FLOOR_FIELD
from limpet.core.target import Health
from limpet.core.target_health import observe_check, observe_failed_request, recover_unchecked
from limpet.errors import ProtocolError
from limpet.proxy.http1.response import parse_response
from limpet.proxy.tls.connected import server_name, why_not_connected
from limpet.proxy.tls.contexts import client_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from limpet.config.schema import HealthCheckSettings
    from limpet.control.state import GroupState
    from limpet.core.address import Address
    from limpet.core.target import Target, TargetState
    from limpet.core.tls import TargetTls
    from limpet.errors import ErrorKind
    from limpet.proxy.http1.response import Response

_MAX_HEAD_BYTES = 65536
_UNCHECKED_S = 0.5
#: How often a target is checked that has not been seen healthy or unhealthy yet.
_STARTING_S = 1.0


class HealthChecker:
    """Checks every target of the groups that it is told of.

    Args:
        on_change: told of a target whose health has changed, with its group's name.
    """

    def __init__(self, rng: Random, on_change: Callable[[str, TargetState], None]) -> None:
        self._rng = rng
        self._on_change = on_change
        self._tasks: dict[TargetState, asyncio.Task[None]] = {}
        self._first: dict[TargetState, asyncio.Event] = {}

    def watch(self, groups: dict[str, GroupState]) -> None:
        """Check exactly the targets of these groups from now on."""
        wanted = {state: group for group in groups.values() for state in group.targets.values()}
        for state in set(self._tasks) - set(wanted):
            self._tasks.pop(state).cancel()
            self._first.pop(state, None)
        for state, group in wanted.items():
            if state not in self._tasks:
                self._first[state] = asyncio.Event()
                self._tasks[state] = asyncio.create_task(self._check_for_ever(group, state))

    def check_anew(self, state: TargetState) -> None:
        """Stop checking a target; the next `watch` begins with a check at once."""
        task = self._tasks.pop(state, None)
        if task is not None:
            task.cancel()

    async def first_round(self, timeout_s: float) -> None:
        """Wait until every target was checked once, but not for ever."""
        waiting = [asyncio.create_task(event.wait()) for event in self._first.values()]
        if waiting:
            _, pending = await asyncio.wait(waiting, timeout=timeout_s)
            for task in pending:
                task.cancel()

    def request_failed(self, group: GroupState, state: TargetState, kind: ErrorKind) -> None:
        """Take in that a request got no response from a target."""
        thresholds = compiled.thresholds(group.settings.health_check)
        detail = f"{state.failures} requests failed in a row ({kind.label})"
        if observe_failed_request(state, thresholds, detail=detail):
            self._on_change(group.name, state)

    async def stop(self) -> None:
        """End all checks."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _check_for_ever(self, group: GroupState, state: TargetState) -> None:
        while True:
            settings = group.settings.health_check  # a reload may have changed it
            if settings.enabled:
                await self._check_once(group, state, settings)
                spread = 1 + settings.jitter * (2 * self._rng.random() - 1)
                interval_s = settings.interval_s
                if state.health is Health.INITIAL:  # an app that still starts is awaited
                    interval_s = min(interval_s, _STARTING_S)
                delay_s = interval_s * spread
            else:
                delay_s = _UNCHECKED_S
                unhealthy_for_s = asyncio.get_running_loop().time() - state.unhealthy_since_s
                recovery_s = settings.passive_recovery_s
                if recover_unchecked(state, unhealthy_for_s=unhealthy_for_s, recovery_s=recovery_s):
                    self._on_change(group.name, state)
            self._first[state].set()
            await asyncio.sleep(delay_s)

    async def _check_once(self, group: GroupState, state: TargetState, settings: HealthCheckSettings) -> None:
        if state.health in {Health.MAINTENANCE, Health.DRAINING}:
            return
        is_success, detail, fingerprint = await check(state.target, settings, group.tls)
        if is_success and fingerprint != state.checked_fingerprint:
            state.checked_fingerprint = fingerprint
            self._on_change(group.name, state)
        if observe_check(state, compiled.thresholds(settings), is_success=is_success, detail=detail):
            self._on_change(group.name, state)


async def check(target: Target, settings: HealthCheckSettings, tls: TargetTls) -> tuple[bool, str, str]:
    """Check a target once.

    Args:
        tls: how TLS is spoken, if the target's address asks for it.

    Returns:
        Whether it is healthy, what was seen, and the fingerprint of its session store: "" if it did
        not say.
    """
    try:
        async with asyncio.timeout(settings.timeout_s):
            response = await _ask(target, settings, tls)
    except TimeoutError:
        return False, f"no answer within {settings.timeout_s:g} s", ""
    except OSError as error:
        return False, why_not_connected(error), ""
    except ProtocolError as error:
        return False, error.detail, ""
    fingerprint = response.state.fingerprint if response.state is not None else ""
    return matches(response.status, settings.matcher), f"status {response.status}", fingerprint


def matches(status: int, matcher: str) -> bool:
    """Return whether a status is one of `200-299,401`."""
    for part in matcher.split(","):
        low, _, high = part.partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


async def _ask(target: Target, settings: HealthCheckSettings, tls: TargetTls) -> Response:
    address = target.address
    if address.path is not None:
        reader, writer = await asyncio.open_unix_connection(address.path)
    elif address.is_tls:
        context, name = client_context(tls), server_name(target, tls)
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=context, server_hostname=name
        )
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_request(address, settings))
        data = b""
        while True:
            part = await reader.read(_MAX_HEAD_BYTES)
            if not part:
                raise ConnectionResetError(None, "the target closed the connection")
            data += part
            response = parse_response(data, b"GET")
            while response is not None and response.status < 200:  # an interim response
                data = data[len(response.head) :]
                response = parse_response(data, b"GET")
            if response is not None:
                return response
            if len(data) > _MAX_HEAD_BYTES:
                raise ConnectionResetError(None, "the response head is too large")
    finally:
        writer.close()


def _request(address: Address, settings: HealthCheckSettings) -> bytes:
    fields = {
        "Host": settings.host or address.host_header,
        "User-Agent": f"limpet/{__version__} (health check)",
        "Accept": "*/*",
        "Connection": "close",
        FLOOR_FIELD: "0",  # asks what it knows of sessions
    }
    # Names of fields are the same in any case (RFC 9110 section 5.1): one given replaces ours.
    given = {name.lower() for name in settings.headers}
    fields = {name: value for name, value in fields.items() if name.lower() not in given}
    fields |= settings.headers
    lines = [f"GET {settings.path} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
