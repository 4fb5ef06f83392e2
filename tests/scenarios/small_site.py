"""Servers of a small site that keep its logins in their own memory, and tell what they are told."""

from __future__ import annotations

import json
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, where: tuple[str, int], name: str) -> None:
        super().__init__(where, _Page)
        self.name = name
        self.logins: dict[str, str] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a balancer that goes away before it is answered, as HAProxy's checks do."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Page(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer /health, /fields, and a page that greets whoever this server knows."""
        cookies = dict(each.split("=", 1) for each in self.headers.get("Cookie", "").split("; ") if each)
        user = self.server.logins.get(cookies.get("sid", ""))
        pages = {
            "/health": "well",
            "/fields": json.dumps({name.lower(): value for name, value in self.headers.items()}),
        }
        greeting = f"Hello {user}" if user else "You are logged out"
        self._send(200, pages.get(self.path, f"{greeting}. This is replica {self.server.name}"))

    def do_POST(self) -> None:
        """Log in."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        sid = secrets.token_hex()
        self.server.logins[sid] = form["name"][0]
        self._send(303, "", f"sid={sid}; Path=/")

    def _send(self, status: int, text: str, cookie: str | None = None) -> None:
        self.send_response(status)
        if cookie is not None:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SmallSite:
    """One such server, which may be down for a while; its logins survive that.

    Attributes:
        where: address and port.
    """

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.where = (address, 0)
        self._logins: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        """Listen."""
        self._server = _Server(self.where, self.name)
        self._server.logins = self._logins
        self.where = self._server.server_address  # type: ignore[assignment]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Go down."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
