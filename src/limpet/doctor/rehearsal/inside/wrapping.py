"""The app with its replica's name in every response, and with the rehearsal's orders obeyed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from limpet.doctor.rehearsal.inside import slow_views
from limpet.doctor.rehearsal.inside.orders import (
    ORDERS_HEADER,
    REPLICA_HEADER,
    Orders,
    facts_path,
    read_orders,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limpet.replicas.app import App

_ORDERS_KEY = f"HTTP_{ORDERS_HEADER.upper().replace('-', '_')}"
_ORDERS_NAME = ORDERS_HEADER.lower().encode()


def wrap_wsgi(app: App, name: str, token: str, tell: Callable[[dict[str, str]], dict[str, Any]]) -> App:
    """Return a WSGI app around a WSGI app.

    Args:
        name: of the replica.
        tell: answers questions about the process.
    """
    path = facts_path(token)

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == path:
            body = json.dumps(tell(_query(environ.get("QUERY_STRING", "")))).encode()
            start_response(
                "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
            )
            return [body]
        orders = read_orders(environ.pop(_ORDERS_KEY, ""), token) or Orders()
        if orders.is_plain:
            environ["wsgi.url_scheme"] = "http"

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, (REPLICA_HEADER, name)], *more)

        slow_views.delay_s.set(orders.delay_s)
        return app(environ, start)  # type: ignore[no-any-return]

    return wrapped


def wrap_asgi(app: App, name: str, token: str, tell: Callable[[dict[str, str]], dict[str, Any]]) -> App:
    """Return an ASGI app around an ASGI app; the arguments are those of `wrap_wsgi`."""
    path = facts_path(token)
    own = (REPLICA_HEADER.lower().encode(), name.encode())

    async def wrapped(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        if scope["path"] == path:
            await _answer(send, tell(_query(scope["query_string"].decode())))
            return
        scope, orders = _orders(scope, token)

        async def send_named(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), own]}
            await send(message)

        slow_views.delay_s.set(orders.delay_s)
        await app(scope, receive, send_named)

    return wrapped


def _orders(scope: dict[str, Any], token: str) -> tuple[dict[str, Any], Orders]:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == _ORDERS_NAME]
    orders = read_orders(given[0], token) if given else None
    if orders is None:
        return scope, Orders()
    headers = [header for header in scope["headers"] if header[0] != _ORDERS_NAME]
    scope = {**scope, "headers": headers}
    if orders.is_plain:
        scope["scheme"] = "ws" if scope["type"] == "websocket" else "http"
    return scope, orders


async def _answer(send: Callable[..., Any], facts: dict[str, Any]) -> None:
    body = json.dumps(facts).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _query(text: str) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(text).items()}
