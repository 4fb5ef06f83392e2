"""The guides of docs/guides as tests read them, and what runs what they show.

A guide's machines are loopback addresses here, one each. What a test replaces has to stand in the
guide: a guide that changes breaks its test.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0
SITE = "shop.example"
#: Where commands of the guides are found: gunicorn beside Python, nginx and HAProxy where Debian puts them.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Guide:
    """The blocks of code of a page."""

    def __init__(self, path: str) -> None:
        self.blocks = [(found[1], found[2]) for found in _BLOCK.finditer((ROOT / path).read_text())]

    def block(self, words: str) -> str:
        """Return the one block that holds some words."""
        found = [text for _, text in self.blocks if words in text]
        assert len(found) == 1, f"{len(found)} blocks hold {words!r}"
        return found[0]

    def commands(self, words: str) -> list[str]:
        """Return the commands of the block that holds some words, those over several lines as one."""
        lines = self.block(words).replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def replaced(text: str, pairs: Mapping[str, object]) -> str:
    """Put what the test has in place of what the guide names."""
    for old, new in pairs.items():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, str(new))
    return text


class Server:
    """A server of the site: a process with its children, and its log.

    Args:
        port: where it is going to listen.
        log: file that takes what it says.
    """

    def __init__(
        self, command: Sequence[str], port: tuple[str, int], log: Path, folder: Path = ROOT, **environ: str
    ) -> None:
        self._port = port
        self._log = log
        self._is_over = False
        variables = {**os.environ, "GUNICORN_CMD_ARGS": "--no-control-socket", **environ, "PATH": PATH}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["/usr/bin/env", *command],
                cwd=folder,
                env=variables,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def until_it_listens(self) -> None:
        """Wait until connections are taken."""
        end_s = time.monotonic() + TIMEOUT_S
        while True:
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < end_s, self._log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(self._port) == 0:
                    return
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._is_over:
            self.kill()

    def stop(self) -> None:
        """Let it end in peace, and wait for that."""
        if not self._is_over:
            self.process.terminate()
            self.process.wait(TIMEOUT_S)
            self._is_over = True

    def kill(self) -> None:
        """Pull the plug: the process and its children are gone at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_S)
        self._is_over = True


class Resolver(httpx.BaseTransport):
    """Leads a browser to the machines that a site's name stands for, in turns.

    As browsers do it: an address that does not answer is passed over, and a GET whose connection
    breaks before its response is sent again.

    Args:
        machines: for each, where a scheme is served: `{"https": ("127.0.0.1", 443)}`.
        trust: what vouches for the site's certificate.
        address: the client's own.
    """

    def __init__(
        self, machines: Sequence[Mapping[str, tuple[str, int]]], trust: ssl.SSLContext, address: str | None
    ) -> None:
        self._machines = machines
        self._turns = itertools.cycle(range(len(machines)))
        self._wire = httpx.HTTPTransport(verify=trust, local_address=address)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the next machine, or the one after it."""
        first = next(self._turns)
        for number in range(len(self._machines)):
            machine = self._machines[(first + number) % len(self._machines)]
            is_last = number == len(self._machines) - 1
            try:
                return self._wire.handle_request(_sent_to(request, machine[request.url.scheme]))
            except httpx.ConnectError:
                if is_last:
                    raise
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                if is_last or request.method != "GET":
                    raise
        raise AssertionError

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()


def _sent_to(request: httpx.Request, where: tuple[str, int]) -> httpx.Request:
    url = request.url.copy_with(host=where[0], port=where[1])
    extensions = {**request.extensions, "sni_hostname": request.url.host}
    return httpx.Request(
        request.method, url, headers=request.headers, stream=request.stream, extensions=extensions
    )


def browser(
    machines: Sequence[Mapping[str, tuple[str, int]]],
    trust: ssl.SSLContext,
    name: str = "",
    address: str | None = None,
) -> httpx.Client:
    """Return somebody's browser, which opens the site."""
    return httpx.Client(
        base_url=f"https://{SITE}",
        transport=Resolver(machines, trust, address),
        headers={"User-Agent": f"Mozilla/5.0 ({name})"},
        timeout=TIMEOUT_S,
    )


def log_in(client: httpx.Client, name: str) -> None:
    """Log in at the examples' app, as forms do it."""
    client.get("/")
    assert client.post("/login", data={"name": name}).status_code == 303


def lost(users: Mapping[str, httpx.Client], rounds: int = 1) -> list[str]:
    """Let everybody open the front page, and return who was not recognised."""
    out = []
    for _ in range(rounds):
        for name, client in users.items():
            answer = client.get("/")
            if answer.status_code != 200 or f"Hello {name}" not in answer.text:
                out.append(f"{name}: {answer.status_code} {answer.text}")
    return out


def homes(users: Iterable[httpx.Client]) -> set[str]:
    """Return which servers made these users' pages."""
    return {re.findall("This is replica (\\w+)", client.get("/").text)[0] for client in users}


def served_at(running: object) -> dict[str, tuple[str, int]]:
    """Return where a started limpet serves http and https."""
    at = {}
    for scheme in ("http", "https"):
        found = running.line(rf"listening on {scheme}://([\d.]+):(\d+)")  # type: ignore[attr-defined]
        at[scheme] = (found[1], int(found[2]))
    return at
