"""The admin listener: JSON over loopback, for `limpet status` and its like.

It has no password yet, so it must not be reachable by a web page in the operator's browser. A
page can send requests to 127.0.0.1; what it cannot do is forge these (Fetch standard):

- Host: a page that rebinds its own name to 127.0.0.1 sends its own name;
- Origin and Sec-Fetch-Site: browsers add them to requests across sites;
- `Content-Type: application/json` on calls that change something: across sites, browsers ask
  for permission first (CORS preflight), and no answer here ever grants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limpet import __version__
from limpet.config.compile import target_id
from limpet.config.value_types import NAME_PATTERN, NAME_WORDS
from limpet.control import certificates, sockets
from limpet.control.metrics import exposition
from limpet.control.upgrade import UpgradeError
from limpet.core.address import Address, parse_address
from limpet.core.target import Health, Target
from limpet.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from limpet.control.balancer import Balancer
    from limpet.control.inherited import Inherited
    from limpet.control.state import GroupState
    from limpet.core.target import TargetState

_CHANGING = frozenset({"POST", "PUT", "DELETE", "PATCH"})
_MAX_BODY_BYTES = 65536


class AdminError(Exception):
    """A call that cannot be carried out: its status and what is wrong."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class AdminServer:
    """The admin listener of a balancer.

    Attributes:
        bound: where it listens.
        sockets: that it listens on.
        on_upgrade: replaces this process and returns the successor's id; None if that is not possible.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.sockets: list[socket.socket] = []
        self.on_upgrade: Callable[[], Awaitable[int]] | None = None
        self._balancer = balancer
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None
        self.bound: Address | None = None

    async def start(self, address: Address, inherited: Inherited | None = None) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be bound.
        """
        try:
            listening = inherited.claim(address) if inherited is not None else []
            listening = listening or sockets.listen(address, is_private=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                [f"admin.address: {address} cannot be bound ({reason}); choose another"]
            ) from None
        self.bound = sockets.bound_address(address, listening)
        self.sockets = listening
        config = uvicorn.Config(
            Guard(routes(self._balancer, self), str(self.bound)),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=listening))

    async def stop(self, *, is_handed_over: bool = False) -> None:
        """Stop listening.

        Args:
            is_handed_over: another process goes on; a Unix socket's file stays.
        """
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = None
            if self.bound is not None and not is_handed_over:
                sockets.close((), self.bound.path)


class Guard:
    """Refuses what a web page could have sent; see the module's docstring."""

    def __init__(self, app: ASGIApp, own: str) -> None:
        self._app = app
        port = own.rpartition(":")[2]
        self._hosts = {own, f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer 403 or 415."""
        if scope["type"] != "http":
            return
        refusal = self.refusal(scope["method"], dict(scope["headers"]))
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            status, detail = refusal
            await JSONResponse({"error": detail}, status)(scope, receive, send)

    def refusal(self, method: str, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Return why a call is refused, or None."""
        if headers.get(b"host", b"").decode("latin-1") not in self._hosts:
            return 403, "the Host header names another host"
        if b"origin" in headers:
            return 403, "web pages may not call this"
        if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
            return 403, "web pages may not call this"
        content_type = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if method in _CHANGING and content_type != b"application/json":
            return 415, "send Content-Type: application/json"
        return None


def routes(balancer: Balancer, server: AdminServer) -> Starlette:
    """Return the application behind the guard."""
    api = _Api(balancer, server)
    target = "/targets/{group}/{name}"
    return Starlette(
        routes=[
            Route("/status", api.status),
            Route("/metrics", api.metrics),
            Route("/explain/{request_id}", api.explain),
            Route("/reload", api.reload, methods=["POST"]),
            Route("/upgrade", api.upgrade, methods=["POST"]),
            Route("/targets/{group}", api.add, methods=["POST"]),
            Route(target, api.remove, methods=["DELETE"]),
            Route(f"{target}/drain", api.remove, methods=["POST"]),
            Route(f"{target}/weight", api.weight, methods=["PUT"]),
            Route(f"{target}/maintenance", api.maintenance, methods=["PUT"]),
        ],
        exception_handlers={AdminError: _refuse},
    )


class _Api:
    def __init__(self, balancer: Balancer, server: AdminServer) -> None:
        self._balancer = balancer
        self._server = server

    async def status(self, request: Request) -> JSONResponse:
        del request
        return JSONResponse(await status(self._balancer))

    async def metrics(self, request: Request) -> Response:
        data, content_type = await exposition(self._balancer, request.headers.get("accept", ""))
        return Response(data, headers={"content-type": content_type})

    async def explain(self, request: Request) -> JSONResponse:
        request_id = request.path_params["request_id"]
        found = await self._balancer.plane.explain(request_id)
        if found is None:
            raise AdminError(404, f"no recent request has the id {request_id!r}")
        return JSONResponse(found)

    async def reload(self, request: Request) -> JSONResponse:
        del request
        try:
            await self._balancer.reload()
        except ConfigError as error:
            return JSONResponse({"error": "nothing was changed", "problems": error.problems}, 400)
        return JSONResponse({"version": self._balancer.snapshot.version})

    async def upgrade(self, request: Request) -> JSONResponse:
        del request
        if self._server.on_upgrade is None:
            raise AdminError(409, "this process runs the app as well; stop it and start it again")
        try:
            return JSONResponse({"pid": await self._server.on_upgrade()})
        except UpgradeError as error:
            raise AdminError(500, f"nothing was changed: {error}") from None

    async def add(self, request: Request) -> JSONResponse:
        group = self._group(request)
        body = await _body(request)
        target = _target_of(body)
        for state in group.targets.values():
            is_leaving = state.health is Health.DRAINING
            if state.id != target.id and state.target.address == target.address and not is_leaving:
                raise AdminError(409, f"address: {target.address} is {state.id} already")
        self._balancer.add(group.name, target)
        return await self._answer(group, group.targets[target.id], 201)

    async def remove(self, request: Request) -> JSONResponse:
        group, state = self._target(request)
        self._balancer.state.drain(group.name, state.id)
        return await self._answer(group, state)

    async def weight(self, request: Request) -> JSONResponse:
        group, state = self._target(request)
        body = await _body(request)
        self._balancer.state.set_weight(group.name, state.id, _weight(body.get("weight")))
        return await self._answer(group, state)

    async def maintenance(self, request: Request) -> JSONResponse:
        group, state = self._target(request)
        body = await _body(request)
        is_on = body.get("on")
        if state.health is Health.DRAINING:
            raise AdminError(409, f"{state.id} is draining; add it again first")
        if not isinstance(is_on, bool):
            raise AdminError(400, "on: must be true or false")
        self._balancer.set_maintenance(group.name, state, is_on=is_on)
        return await self._answer(group, state)

    async def _answer(self, group: GroupState, state: TargetState, status: int = 200) -> JSONResponse:
        self._balancer.plane.refresh()
        active = (await self._balancer.plane.active_sessions())[group.name]
        return JSONResponse({"target": _describe(state, active.counts)}, status)

    def _group(self, request: Request) -> GroupState:
        name = request.path_params["group"]
        group = self._balancer.state.groups.get(name)
        if group is None:
            names = ", ".join(self._balancer.state.groups)
            raise AdminError(404, f"there is no target group {name!r}; there is {names}")
        return group

    def _target(self, request: Request) -> tuple[GroupState, TargetState]:
        group = self._group(request)
        name = request.path_params["name"]
        state = group.targets.get(name)
        if state is None:
            raise AdminError(404, f"{group.name} has no target {name!r}; it has {', '.join(group.targets)}")
        return group, state


async def status(balancer: Balancer) -> dict[str, Any]:
    """Return what `limpet status` shows, as JSON-able values."""
    active = await balancer.plane.active_sessions()
    totals = balancer.plane.refresh()
    groups = []
    for group in balancer.state.groups.values():
        frozen = balancer.snapshot.groups[group.name]
        groups.append(
            {
                "name": group.name,
                "algorithm": group.policy.name,
                "stickiness": group.stickiness.kind,
                "is_failing_open": frozen.is_failing_open,
                "sessions_are_truncated": active[group.name].is_truncated,
                "targets": [_describe(state, active[group.name].counts) for state in group.targets.values()],
            }
        )
    return {
        "limpet": __version__,
        "workers": balancer.settings.workers,
        "uptime_s": round(time.monotonic() - balancer.started_s, 1),
        "version": balancer.snapshot.version,
        "reloads": balancer.reloads,
        **totals._asdict(),
        "keys": balancer.keys.origin,
        "handshakes": (await balancer.plane.handshakes())._asdict(),
        "listeners": [
            {
                "address": str(bound),
                "target_group": listener.group or None,
                "certificates": certificates.describe(listener, time.time()),
            }
            for listener, bound in balancer.bound.items()
        ],
        "target_groups": groups,
        "leaving": [_describe(state, {}) for state in balancer.state.leaving],
    }


def _describe(state: TargetState, sessions: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": state.id,
        "address": str(state.target.address),
        "health": state.health.value,
        "detail": state.health_detail,
        "weight": state.target.weight,
        "effective_weight": round(state.weight, 3),
        "is_backup": state.target.is_backup,
        "is_serving": state.takes_sticky and state.health is not Health.DRAINING,
        "in_flight": state.in_flight,
        "queued": state.queued,
        "requests": state.requests,
        "errors": state.errors,
        "sessions": sessions.get(state.id, 0),
    }


def _target_of(body: dict[str, Any]) -> Target:
    unknown = set(body) - {"name", "address", "weight"}
    if unknown:
        raise AdminError(400, f"{min(unknown)}: unknown setting; there are name, address and weight")
    text, name = body.get("address"), body.get("name")
    if not isinstance(text, str):
        raise AdminError(400, "address: must be a string; write HOST:PORT or unix:/path")
    try:
        address = parse_address(text, default_port=80)
    except ValueError as error:
        raise AdminError(400, f"address: {error}") from None
    if address.is_name:
        raise AdminError(400, "address: a DNS name can be given in the file only; write an IP address")
    if address.port == 0:
        raise AdminError(400, f"address: {text!r} has port 0; write the target's port")
    if name is not None and not (isinstance(name, str) and re.fullmatch(NAME_PATTERN, name)):
        raise AdminError(400, f"name: write {NAME_WORDS}")
    weight = _weight(body.get("weight", 1))
    return Target(id=name or target_id(str(address)), address=address, weight=weight)


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _MAX_BODY_BYTES:
            raise AdminError(413, "the body is too large")
    try:
        body = json.loads(data)
    except ValueError:
        raise AdminError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise AdminError(400, "the body is no JSON object")
    return body


def _weight(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1000:
        raise AdminError(400, "weight: must be a whole number from 0 to 1000")
    return value


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, AdminError)  # noqa: S101  # registered for it alone
    return JSONResponse({"error": error.detail}, error.status)


class _Server(uvicorn.Server):
    # Signals are the balancer's: it stops this server itself.
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
