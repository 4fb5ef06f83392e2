"""One replica: the app in its own process, started as `python -m limpet.replicas.child`.

Theory of operation. The process is bound to its parent by a socket, the *lifeline*. On it the
child reports once, in one line of JSON: `{"ready": "asgi"}` when it listens, or
`{"refused": "why"}` when the app cannot be run. When the lifeline ends, the parent is gone, even
if it was killed without a chance to clean up, and the replica ends itself.

The port is bound by parent and child alike (SO_REUSEPORT) but only the child listens, so that
nobody else takes the port while the replica is dead, and connecting is refused at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

from limpet.replicas.app import AppError, detect_interface, load_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.replicas.app import App, Interface

#: An idle connection is kept longer than limpet keeps it (30 s): whoever closes first must be
#: the one who sends requests, or a request meets a closing connection.
KEEP_ALIVE_S = 75
#: What a replica without a parent gets to finish its work.
ORPHAN_GRACE_S = 5.0
_WSGI_THREADS = 16
_PROXY = "127.0.0.1"


def main(wrap: Callable[[App, Interface], App] | None = None) -> None:
    """Run one replica until it is told to stop or its parent is gone.

    Args:
        wrap: what is to be served in place of the app; the app itself if absent.
    """
    options = _options()
    lifeline = socket.socket(fileno=options.lifeline)
    lifeline.set_inheritable(False)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    if sys.path[0] != os.getcwd():  # noqa: PTH109  # left out by python -P and PYTHONSAFEPATH
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        app = load_app(options.app)
        interface: Interface = options.interface or detect_interface(app, options.app)
        if wrap is not None:
            app = wrap(app, interface)
        listener = bind(options.port)
    except (AppError, OSError) as error:
        _report(lifeline, "refused", str(error))
        raise SystemExit(2) from None
    serve = _serve_asgi if interface == "asgi" else _serve_wsgi
    serve(app, listener, lambda: _report(lifeline, "ready", interface))


def bind(port: int) -> socket.socket:
    """Return a TCP socket bound to a port of 127.0.0.1 that may be bound more than once; 0 chooses one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((_PROXY, port))
    return sock


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="limpet.replicas.child", description=__doc__)
    parser.add_argument("app")
    parser.add_argument("--interface", choices=["asgi", "wsgi"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True, help="file descriptor of a socket")
    return parser.parse_args()


def _report(lifeline: socket.socket, key: str, value: str) -> None:
    lifeline.sendall(json.dumps({key: value}).encode() + b"\n")


def _end_with(lifeline: socket.socket) -> NoReturn:
    while lifeline.recv(64):
        pass
    # The group is what the app has started besides; the parent made this process lead it.
    group = os.getpgrp() if os.getpgrp() == os.getpid() else None
    _signal(group, signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    _signal(group, signal.SIGKILL)
    raise SystemExit


def _signal(group: int | None, number: signal.Signals) -> None:
    os.kill(os.getpid(), number) if group is None else os.killpg(group, number)


def _serve_asgi(app: App, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    import uvicorn  # noqa: PLC0415  # a WSGI app shall not pay for it

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    config = uvicorn.Config(
        app,
        interface="asgi3",
        log_level="warning",
        access_log=False,  # limpet has one, with the replica's name in it
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
        proxy_headers=True,
        forwarded_allow_ips=_PROXY,
    )
    Server(config).run(sockets=[listener])


def _serve_wsgi(app: App, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    import waitress.server  # noqa: PLC0415  # an ASGI app shall not pay for it

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is nothing to warn of
    settings: dict[str, Any] = {
        "sockets": [listener],
        "threads": _WSGI_THREADS,
        "channel_timeout": KEEP_ALIVE_S,
        "connection_limit": 10_000,
        "asyncore_use_poll": True,  # select() ends at 1024 connections
        "max_request_body_size": 1 << 62,  # limpet's max_body_bytes is the limit
        "trusted_proxy": _PROXY,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-host",
        },
        "clear_untrusted_proxy_headers": True,
    }
    server = waitress.server.create_server(app, **settings)
    signal.signal(signal.SIGTERM, _exit)
    on_ready()
    server.run()


def _exit(*_: object) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    main()
