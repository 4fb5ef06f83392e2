"""Targets in threads of the test, and people who visit them through a balancer."""

from __future__ import annotations

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from typing import Self

TIMEOUT_S = 30
_NUMBERS = itertools.count(1)


class SmallTarget(ThreadingHTTPServer):
    """Answers its own name; what it does can be changed while it runs.

    Attributes:
        status: of its answers.
        session_state: what they say of their session, as limpet.sessions does.
        may_answer: while it is not set, everything but health checks waits.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, name: str) -> None:
        super().__init__(("", 0), _Answering)  # by any address of this machine
        self.name = name
        self.status = 200
        self.session_state = ""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *what: object) -> None:
        self.may_answer.set()
        self.shutdown()
        self.server_close()
        self._thread.join(TIMEOUT_S)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SmallTarget

    def do_GET(self) -> None:
        if self.path != "/health":
            self.server.may_answer.wait(TIMEOUT_S)
        body = self.server.name.encode()
        self.send_response(self.server.status if self.path != "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.server.session_state:
            self.send_header("Limpet-State", self.server.session_state)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *what: object) -> None:
        pass


def visit(url: str, people: int, refreshes: int = 1, path: str = "/") -> None:
    """Let people come, one after the other, and refresh.

    Each has a browser and a cookie jar of their own: limpet takes requests of one browser that come
    at once for one person's.
    """
    for _ in range(people):
        browser = {"User-Agent": f"person {next(_NUMBERS)}"}
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, headers=browser, verify=False) as person:
            for _ in range(refreshes):
                person.get(path)
