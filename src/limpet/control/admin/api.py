"""The calls of the admin API; `ROUTES` lists them, and the OpenAPI document is made of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from limpet.control import keys
from limpet.control.admin.bodies import AddTarget, Nothing, RotateKeys, SetMaintenance, SetWeight
from limpet.control.admin.openapi import document
from limpet.control.admin.status import describe, status
from limpet.control.dashboard import pages
from limpet.control.dashboard.feed import MAX_WATCHERS
from limpet.control.metrics import exposition
from limpet.control.session_numbers import NOBODY, count_residents
from limpet.control.upgrade import UpgradeError
from limpet.core.clock import Now
from limpet.core.request import FieldBlock, RequestHead, ResponseHead
from limpet.core.stickiness.contract import Finding, StickyStatus
from limpet.core.target import Health
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from starlette.requests import Request

    from limpet.control.admin.server import AdminServer
    from limpet.control.balancer import Balancer
    from limpet.control.state import GroupState
    from limpet.core.target import TargetState

B = TypeVar("B", bound=BaseModel)
_MAX_BODY_BYTES = 65536


class AdminError(Exception):
    """A call that cannot be carried out: its status and what is wrong."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Call(NamedTuple):
    """One call.

    Attributes:
        name: of the method of `Api`.
        summary: for the document.
        statuses: what it may answer beside 401, 403 and 415, and why.
        body: what it takes; None for nothing.
    """

    method: str
    path: str
    name: str
    summary: str
    statuses: dict[int, str]
    body: type[BaseModel] | None = None


_TARGET = "/targets/{group}/{name}"
_NO_TARGET = {404: "There is no such group or target."}
_BAD_BODY = {400: "The body is wrong; the answer says what.", 413: "The body is too large."}
ROUTES = (
    Call("GET", "/status", "status", "Targets, states, sessions", {200: "The status."}),
    Call("GET", "/metrics", "metrics", "Metrics for Prometheus", {200: "The metrics."}),
    Call(
        "GET",
        "/events",
        "events",
        "Status, rates and recent decisions once a second, as server-sent events",
        {200: "The events, without end.", 503: "Too many watch already."},
    ),
    Call("GET", "/openapi.json", "openapi", "This document", {200: "The document."}),
    Call(
        "GET",
        "/explain/{request_id}",
        "explain",
        "A recent request's decision",
        {200: "The decision.", 404: "No recent request has this id."},
    ),
    Call(
        "POST",
        "/reload",
        "reload",
        "Read the configuration again",
        {200: "It is the current one.", 400: "Nothing was changed; the answer holds every mistake."},
        Nothing,
    ),
    Call(
        "POST",
        "/upgrade",
        "upgrade",
        "Let a new process take over",
        {
            200: "It serves, and this one lets its requests finish.",
            409: "This process runs the app as well.",
            500: "The new process does not serve; nothing was changed.",
        },
        Nothing,
    ),
    Call(
        "POST",
        "/targets/{group}",
        "add",
        "Register a target, or change it",
        {201: "The target.", 404: "There is no such group.", 409: "The address has another name already."}
        | _BAD_BODY,
        AddTarget,
    ),
    Call(
        "DELETE", _TARGET, "remove", "Drain and forget a target", {200: "The target."} | _NO_TARGET, Nothing
    ),
    Call(
        "POST",
        f"{_TARGET}/drain",
        "drain",
        "Drain and forget a target",
        {200: "The target."} | _NO_TARGET,
        Nothing,
    ),
    Call(
        "POST",
        f"{_TARGET}/leave",
        "leave",
        "Get a target no new session and let its portable ones go; the pinned stay",
        {200: "The target.", 409: "It is draining."} | _NO_TARGET,
        Nothing,
    ),
    Call(
        "PUT",
        f"{_TARGET}/weight",
        "weight",
        "Change a target's weight",
        {200: "The target."} | _NO_TARGET | _BAD_BODY,
        SetWeight,
    ),
    Call(
        "PUT",
        f"{_TARGET}/maintenance",
        "maintenance",
        "Take a target out of service, or back",
        {200: "The target.", 409: "It is draining."} | _NO_TARGET | _BAD_BODY,
        SetMaintenance,
    ),
    Call(
        "POST",
        f"{_TARGET}/ticket",
        "ticket",
        "Seal a ticket, to try one target with",
        {200: "The cookies.", 409: "This kind of stickiness has no ticket."} | _NO_TARGET,
        Nothing,
    ),
    Call(
        "POST",
        "/keys",
        "rotate_keys",
        "One step of a change of the keys of tickets",
        {200: "The ids of the keys, newest first.", 409: "The keys are not in a file, or too few."}
        | _BAD_BODY,
        RotateKeys,
    ),
)


def application(balancer: Balancer, server: AdminServer) -> Starlette:
    """Return the application behind the guard."""
    api = Api(balancer, server)
    return Starlette(
        routes=[Route(call.path, getattr(api, call.name), methods=[call.method]) for call in ROUTES]
        + pages.ROUTES,
        exception_handlers={AdminError: _refuse},
    )


class Api:
    """The calls by name."""

    def __init__(self, balancer: Balancer, server: AdminServer) -> None:
        self._balancer = balancer
        self._server = server

    async def status(self, request: Request) -> Response:
        """Tell what `limpet status` shows."""
        del request
        return JSONResponse(await status(self._balancer, await self._balancer.plane.outcomes()))

    async def metrics(self, request: Request) -> Response:
        """Tell all metrics."""
        data, content_type = await exposition(self._balancer, request.headers.get("accept", ""))
        return Response(data, headers={"content-type": content_type})

    async def events(self, request: Request) -> Response:
        """Tell what the dashboard shows, again and again."""
        del request
        feed = self._server.feed
        if feed.is_full:
            raise AdminError(503, f"{MAX_WATCHERS} watch already; close some of their pages")
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        return StreamingResponse(feed.watch(), headers=headers)

    async def openapi(self, request: Request) -> Response:
        """Tell what this API can do."""
        del request
        return JSONResponse(document(ROUTES))

    async def explain(self, request: Request) -> Response:
        """Tell a recent request's decision."""
        request_id = request.path_params["request_id"]
        found = await self._balancer.plane.explain(request_id)
        if found is None:
            raise AdminError(404, f"no recent request has the id {request_id!r}")
        return JSONResponse(found)

    async def reload(self, request: Request) -> Response:
        """Read the configuration again."""
        del request
        await self._reload()
        return JSONResponse({"version": self._balancer.snapshot.version})

    async def upgrade(self, request: Request) -> Response:
        """Let a new process take over."""
        del request
        if self._server.on_upgrade is None:
            raise AdminError(409, "this process runs the app as well; stop it and start it again")
        try:
            return JSONResponse({"pid": await self._server.on_upgrade()})
        except UpgradeError as error:
            raise AdminError(500, f"nothing was changed: {error}") from None

    async def add(self, request: Request) -> Response:
        """Register a target, or change it."""
        group = self._group(request)
        target = (await _body(request, AddTarget)).target()
        for state in group.targets.values():
            is_leaving = state.health is Health.DRAINING
            if state.id != target.id and state.target.address == target.address and not is_leaving:
                raise AdminError(409, f"address: {target.address} is {state.id} already")
        self._balancer.add(group.name, target)
        return await self._answer(group, group.targets[target.id], 201)

    async def remove(self, request: Request) -> Response:
        """Drain and forget a target."""
        group, state = self._target(request)
        self._balancer.state.drain(group.name, state.id)
        return await self._answer(group, state)

    drain = remove

    async def leave(self, request: Request) -> Response:
        """Let a target be emptied while it serves."""
        group, state = self._target(request)
        await _body(request, Nothing)
        if state.health is Health.DRAINING:
            raise AdminError(409, f"{state.id} is draining already")
        self._balancer.state.leave(group.name, state.id)
        return await self._answer(group, state)

    async def weight(self, request: Request) -> Response:
        """Change a target's weight."""
        group, state = self._target(request)
        body = await _body(request, SetWeight)
        self._balancer.state.set_weight(group.name, state.id, body.weight)
        return await self._answer(group, state)

    async def maintenance(self, request: Request) -> Response:
        """Take a target out of service, or back."""
        group, state = self._target(request)
        body = await _body(request, SetMaintenance)
        if state.health is Health.DRAINING:
            raise AdminError(409, f"{state.id} is draining; add it again first")
        self._balancer.set_maintenance(group.name, state, is_on=body.on)
        return await self._answer(group, state)

    async def ticket(self, request: Request) -> Response:
        """Seal a ticket for a target: a session that begins there, for whoever tries it."""
        group, state = self._target(request)
        asked = RequestHead(b"GET", b"/", FieldBlock([]), is_https=_has_tls(self._balancer))
        finding = Finding(StickyStatus.ABSENT)
        now = Now(time.time(), time.monotonic())
        bound = group.stickiness.bind(asked, finding, state.id, ResponseHead(200, []), now)
        if not bound.set_cookies:
            raise AdminError(409, f"stickiness {group.stickiness.kind} of {group.name} has no ticket to seal")
        cookies = [value.decode("latin-1") for value in bound.set_cookies]
        sent = "; ".join(cookie.partition(";")[0] for cookie in cookies)
        return JSONResponse({"set_cookie": cookies, "cookie": sent})

    async def rotate_keys(self, request: Request) -> Response:
        """Take one step of a change of keys, and use them."""
        body = await _body(request, RotateKeys)
        try:
            ids = keys.rotate(self._balancer.keys, body.step)
        except ConfigError as error:
            raise AdminError(409, error.problems[0]) from None
        await self._reload()
        return JSONResponse({"keys": ids})

    async def _reload(self) -> None:
        try:
            await self._balancer.reload()
        except ConfigError as error:
            raise _ProblemsError(error.problems) from None

    async def _answer(self, group: GroupState, state: TargetState, status: int = 200) -> Response:
        self._balancer.plane.refresh()
        active = (await self._balancer.plane.active_sessions())[group.name]
        residents = count_residents(active.residences.values(), group.relief.settings.assumed)
        return JSONResponse({"target": describe(state, residents.get(state.id, NOBODY))}, status)

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


class _ProblemsError(AdminError):
    def __init__(self, problems: list[str]) -> None:
        super().__init__(400, "nothing was changed")
        self.problems = problems


def _has_tls(balancer: Balancer) -> bool:
    return any(listener.tls is not None for listener in balancer.bound)


async def _body(request: Request, kind: type[B]) -> B:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _MAX_BODY_BYTES:
            raise AdminError(413, "the body is too large")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise AdminError(400, f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


async def _refuse(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, AdminError)  # noqa: S101  # registered for it alone
    problems = {"problems": error.problems} if isinstance(error, _ProblemsError) else {}
    return JSONResponse({"error": error.detail, **problems}, error.status)
