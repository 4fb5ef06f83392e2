"""A site of a few lines: a function from a request to an answer, served by threads on a free port."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Callable

LOGIN_FORM = (
    '<form method="post" action="/login"><input type="hidden" name="token" value="t1">'
    '<input name="username"><input type="password" name="password"></form>'
)


@dataclass
class Request:
    """What was asked."""

    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that were sent."""
        return {key: each.value for key, each in SimpleCookie(self.headers.get("cookie", "")).items()}


@dataclass
class Answer:
    """What is answered."""

    body: str = ""
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)


class SmallSite:
    """Serves `answer`, which a test sets, and remembers what was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], Answer] = lambda _request: Answer("nothing here")
        self.asked: list[Request] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # one write per answer: two would wait for each other's acknowledgement

            def do_GET(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(size).decode()
                form = {key: values[-1] for key, values in parse_qs(body).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, form)
                site.asked.append(request)
                answer = site.answer(request)
                content = answer.body.encode()
                self.send_response(answer.status)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(content)))
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        """Its home page."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Members:
    """A site with logins: sessions by id, a page that greets, a form that logs in.

    A test overrides what its site does wrong.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, str] = {}
        self.count = 0

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path.startswith("/login"):
            return self.login(request)
        return self.page(request)

    def login(self, request: Request) -> Answer:
        """Show the form, or take the credentials."""
        if request.method == "GET":
            return Answer(LOGIN_FORM)
        if request.form.get("password") != "correct-horse" or request.form.get("token") != "t1":
            return Answer(LOGIN_FORM)
        self.count += 1
        session_id = f"secret-session-number-{self.count:04d}"
        self.sessions[session_id] = request.form["username"]
        return Answer(status=303, headers=[("location", "/"), ("set-cookie", self.cookie(session_id))])

    def cookie(self, session_id: str) -> str:
        """Return the Set-Cookie of a session."""
        return f"sid={session_id}; Path=/; HttpOnly; SameSite=Lax"

    def page(self, request: Request) -> Answer:
        """Greet."""
        name = self.known(request)
        if name is None:
            return Answer("<title>Shop</title><p>Welcome. <a href='/login'>Log in</a></p>")
        return Answer(f"<title>Shop</title><p>Hello {name}</p><form method=post action=/logout></form>")

    def known(self, request: Request) -> str | None:
        """Return who asks."""
        return self.sessions.get(request.cookies.get("sid", ""))
