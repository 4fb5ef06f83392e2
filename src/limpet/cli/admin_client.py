"""Calls the admin listener of a running limpet."""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from urllib.parse import quote

import click

from limpet.cli.output import EXIT_UNREACHABLE, EXIT_USAGE, fail
from limpet.core.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_S = 30.0

admin_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--admin",
    "client",
    metavar="HOST:PORT",
    default="127.0.0.1:8081",
    show_default=True,
    callback=lambda _context, _option, value: AdminClient(value),
    help="The admin listener of the limpet to talk to.",
)
group_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--group", metavar="NAME", help="The target group; needed only if there are several."
)


class FoundTarget(NamedTuple):
    """A target of the running limpet.

    Attributes:
        group: name of its target group.
        path: of its calls.
        facts: what `status` says of it.
    """

    group: str
    path: str
    facts: dict[str, Any]


class AdminRefusal(Exception):  # noqa: N818  # an answer, not a malfunction
    """A call that limpet did not carry out.

    Attributes:
        status: of HTTP.
        body: of the answer; its "error" says what is wrong.
    """

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("error", f"status {status}")))
        self.status = status
        self.body = body


class AdminClient:
    """Calls one admin listener; ends the command with exit code 4 if it cannot be reached.

    Args:
        text: where it listens: `HOST:PORT` or `unix:/path`.
    """

    def __init__(self, text: str) -> None:
        try:
            self._address = parse_address(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    def get(self, path: str) -> dict[str, Any]:
        """Ask for something; ends the command with exit code 2 if we may not.

        Raises:
            AdminRefusal: limpet knows no such thing.
        """
        try:
            return self._call("GET", path, None)
        except AdminRefusal as refusal:
            if refusal.status in {401, 403}:
                fail(str(refusal), EXIT_USAGE)
            raise

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        """Change something; ends the command with exit code 2 if limpet refuses."""
        try:
            return self._call(method, path, body or {}, timeout_s)
        except AdminRefusal as refusal:
            for problem in refusal.body.get("problems", []):
                click.echo(problem, err=True)
            fail(str(refusal), EXIT_USAGE)

    def group(self, name: str | None) -> str:
        """Return a target group's name: the given one, or the only one there is."""
        names = [group["name"] for group in self.get("/status")["target_groups"]]
        if name is None and len(names) > 1:
            fail(f"there are several target groups; choose one with --group: {', '.join(names)}", EXIT_USAGE)
        return name or str(names[0])

    def target(self, name: str, group: str | None) -> FoundTarget:
        """Return a target by its name or address; ends with exit code 2 if there is not exactly one."""
        address = name.removeprefix("http://").rstrip("/")
        groups = [g for g in self.get("/status")["target_groups"] if group in {None, g["name"]}]
        found = [
            (g["name"], target)
            for g in groups
            for target in g["targets"]
            if name == target["name"] or address == target["address"]
        ]
        if not found:
            names = [target["name"] for g in groups for target in g["targets"]]
            fail(f"there is no target {name!r}; there is {', '.join(names) or 'none'}", EXIT_USAGE)
        if len(found) > 1:
            names = [group_name for group_name, _ in found]
            fail(
                f"target {name!r} is in several groups; choose one with --group: {', '.join(names)}",
                EXIT_USAGE,
            )
        group_name, facts = found[0]
        return FoundTarget(group_name, f"/targets/{quote(group_name, safe='')}/{quote(name, safe='')}", facts)

    def open(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = _TIMEOUT_S
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send a call; the connection has to be closed once its answer is read.

        Raises:
            OSError, http.client.HTTPException: nobody answers there.
        """
        address = self._address
        connection = http.client.HTTPConnection(address.host or "localhost", address.port or 80)
        headers = {"Host": address.host_header, "Accept": "application/json", "Connection": "close"}
        token = os.environ.get("LIMPET_ADMIN_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token.strip()}"
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        try:
            connection.sock = self._connect(timeout_s)
            connection.request(method, path, content, headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def unreachable(self, error: Exception) -> str:
        """Return what to tell the operator when nobody answers."""
        reason = (
            (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        )
        return (
            f"no limpet answers at {self._address} ({reason}); is it running, "
            "and is this its admin listener? name another with --admin HOST:PORT"
        )

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        try:
            connection, response = self.open(method, path, body, timeout_s=timeout_s)
            try:
                answer = json.loads(response.read())
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._unreachable(error)
        if not isinstance(answer, dict):
            self._unreachable(ValueError("the answer is no JSON object"))
        if response.status >= 400:
            raise AdminRefusal(response.status, answer)
        return answer

    def _connect(self, timeout_s: float) -> socket.socket:
        if self._address.path is None:
            return socket.create_connection((self._address.host, self._address.port), timeout_s)
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout_s)
        sock.connect(self._address.path)
        return sock

    def _unreachable(self, error: Exception) -> NoReturn:
        fail(self.unreachable(error), EXIT_UNREACHABLE)
