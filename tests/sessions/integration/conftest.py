"""A TCP proxy that tests let misbehave: deaf, silent, slow, or one byte at a time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Proxy:
    """Forwards to a local port until told otherwise.

    Attributes:
        forwards: whether requests get through; else they are read and kept.
        returns: whether replies do.
        drip_s: pause after each byte of a reply; None sends it whole.
        keeps: send only so many bytes of each reply; None all.
        swallows: how many replies are still to get lost; those of a tracking connection are not counted.
        mutes: while this is set, connections that have sent it get no more replies.
        opened: how many connections were made.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.forwards = True
        self.returns = True
        self.drip_s: float | None = None
        self.keeps: int | None = None
        self.mutes: bytes | None = None
        self.swallows = 0
        self._sent: dict[socket.socket, bytearray] = {}
        self.opened = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.opened += 1
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, server]
            for work, ends in ((self._forward, (client, server)), (self._return, (server, client))):
                thread = threading.Thread(target=work, args=ends)
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self._sent.setdefault(server, bytearray()).extend(data[:1024])
                if self.forwards:
                    server.sendall(data)
        self._end(client, server)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.swallows and b"TRACKING" not in self._sent.get(server, b""):
                    self.swallows -= 1
                elif self.returns and not self._is_muted(server):
                    self._send(client, data[: self.keeps])
        self._end(client, server)

    def _is_muted(self, server: socket.socket) -> bool:
        return self.mutes is not None and self.mutes in self._sent.get(server, b"")

    def _send(self, client: socket.socket, data: bytes) -> None:
        if self.drip_s is None:
            client.sendall(data)
            return
        for at in range(len(data)):
            client.sendall(data[at : at + 1])
            time.sleep(self.drip_s)

    @staticmethod
    def _end(*sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break every connection."""
        self._end(*self._sockets)

    def close(self) -> None:
        """Break every connection and listen no more."""
        self._end(self._listener)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()


@pytest.fixture
def proxy_to() -> Iterator[Callable[[int], Proxy]]:
    """Open proxies to local ports, and close them at the end of the test."""
    opened: list[Proxy] = []

    def open_(port: int) -> Proxy:
        opened.append(Proxy(port))
        return opened[-1]

    yield open_
    for proxy in opened:
        proxy.close()
