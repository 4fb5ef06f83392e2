"""A relay in front of a Redis server that counts round trips and the commands that were sent.

A round trip begins with the first bytes that a client sends after an answer, or at all: commands that are
sent together before their answers come are one. A connection that only hears of changes (a near-cache's) is
not counted: it is asked a few times a second, whatever is requested.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import hiredis


class Relay:
    """Listens on a free port of the loopback address until it is closed.

    Attributes:
        round_trips: of all connections together.
        commands: how often each was sent.
    """

    def __init__(self, server_port: int) -> None:
        self.round_trips = 0
        self.commands: Counter[str] = Counter()
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        """Begin to count anew."""
        self.round_trips, self.commands = 0, Counter()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Connection(self, client, server)


class _Connection:
    def __init__(self, relay: Relay, client: socket.socket, server: socket.socket) -> None:
        self._relay = relay
        self._is_asking = False
        self._is_counted = True
        self._reader: Any = hiredis.Reader()  # a command looks like a reply that is an array
        for copy in (self._up, self._down):
            threading.Thread(target=copy, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self._count(data)
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _count(self, data: bytes) -> None:
        is_new, self._is_asking = not self._is_asking, True
        self._reader.feed(data)
        while (command := self._reader.gets()) is not False:
            self._is_counted = self._is_counted and command[:2] != [b"CLIENT", b"TRACKING"]
            if self._is_counted:
                self._relay.commands[command[0].decode().lower()] += 1
        self._relay.round_trips += is_new and self._is_counted

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                self._is_asking = False  # before the client can know, so it cannot come too late
                client.sendall(data)
        client.close()
        server.close()
