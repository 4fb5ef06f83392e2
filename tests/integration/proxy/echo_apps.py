"""Echo applications: they answer with what they read, as JSON of Latin-1 text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Echo for WSGI servers; repeated fields come joined with a comma."""
    body = environ["wsgi.input"].read()
    names = [name for name in environ if name.startswith("HTTP_")]
    echo = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["RAW_URI"],
        "body": body.decode("latin-1"),
        "fields": [[name[5:].replace("_", "-").lower(), environ[name]] for name in names],
    }
    data = json.dumps(echo).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
    return [data]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """Echo for ASGI servers."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    query = scope["query_string"]
    echo = {
        "method": scope["method"],
        "path": (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"),
        "body": body.decode("latin-1"),
        "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }
    data = json.dumps(echo).encode()
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": data})
