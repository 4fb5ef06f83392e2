"""Replicas as real processes, without a balancer in front."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from limpet.replicas.app import AppError
from limpet.replicas.replica import AppSettings, ReplicaError
from limpet.replicas.replica_set import ReplicaSet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limpet.replicas.replica import Replica

TIMEOUT_S = 30.0


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)


def with_replicas(
    app: str, count: int, test: Callable[[list[Replica]], Awaitable[None]], **stop: Any
) -> None:
    async def run() -> None:
        replica_set = ReplicaSet(AppSettings(app=app), count)
        try:
            await replica_set.start()
            await test(replica_set.replicas)
        finally:
            await replica_set.stop(**stop)
            replica_set.close()

    uvloop.run(run())  # as limpet does


async def ask(replica: Replica, **headers: str) -> dict[str, Any]:
    def get() -> dict[str, Any]:
        request = urllib.request.Request(f"http://{replica.address}/", headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return dict(json.load(response))

    return await asyncio.to_thread(get)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  # a process tells nobody when it ends
            await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:  # a process that has ended but was not waited for is a zombie
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_an_app_sees_the_client_that_limpet_names(kind: str) -> None:
    async def test(replicas: list[Replica]) -> None:
        plain = [await ask(replica) for replica in replicas]
        assert [facts["letter"] for facts in plain] == ["A", "B"]
        assert [facts["pid"] for facts in plain] == [replica.pid for replica in replicas]
        assert plain[0].items() >= {"client": "127.0.0.1", "scheme": "http", "kind": kind}.items()
        for client in ("203.0.113.7", "2001:db8::7"):
            headers = {"X-Forwarded-For": client, "X-Forwarded-Proto": "https"}
            headers |= {"X-Forwarded-Port": "443", "X-Forwarded-Host": "app.example"}
            facts = await ask(replicas[0], **headers)
            assert (facts["client"], facts["scheme"]) == (client, "https")

    with_replicas(f"apps:{kind}", 2, test)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_dead_replica_refuses_at_once_and_comes_back_at_its_address(kind: str) -> None:
    async def test(replicas: list[Replica]) -> None:
        (replica,) = replicas
        before = await ask(replica)
        os.kill(before["pid"], signal.SIGKILL)
        await until(lambda: replica.pid is None)
        with (
            pytest.raises(ConnectionRefusedError),
            socket.create_connection((replica.address.host, replica.address.port), TIMEOUT_S),
        ):
            pass
        await until(lambda: replica.pid not in {None, before["pid"]})
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    after = await ask(replica)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        assert after["letter"] == before["letter"]
        assert after["pid"] != before["pid"]
        assert replica.restarts == 1

    with_replicas(f"apps:{kind}", 1, test)


def test_one_that_does_not_end_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    pids: list[int] = []

    async def test(replicas: list[Replica]) -> None:
        pids.append((await ask(replicas[0]))["pid"])

    with_replicas("apps:deaf()", 1, test, timeout_s=0.2)
    assert not is_running(pids[0])
    assert capsys.readouterr().err == "A | limpet: did not end within 0.2 s; killed\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_replica_had_started_ends_with_it(number: signal.Signals) -> None:
    async def test(replicas: list[Replica]) -> None:
        facts = await ask(replicas[0])
        assert is_running(facts["child"])
        os.kill(facts["pid"], number)
        await until(lambda: not is_running(facts["child"]))

    with_replicas("apps:parent()", 1, test)


def test_if_one_cannot_start_none_stays() -> None:
    with closing(ReplicaSet(AppSettings(app="apps:fails_in_b()"), 3)) as replica_set:
        with pytest.raises(AppError, match="B has no database"):
            uvloop.run(replica_set.start())
        assert [replica.pid for replica in replica_set.replicas] == [None] * 3


def test_stop_does_not_wait_for_a_restart() -> None:
    async def test(replicas: list[Replica]) -> None:
        os.kill(replicas[0].pid or 0, signal.SIGKILL)
        await until(lambda: replicas[0].restarts == 1)

    began_s = time.monotonic()
    with_replicas("apps:asgi", 1, test)
    assert time.monotonic() - began_s < TIMEOUT_S


def test_an_app_that_ends_at_once_is_no_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ends.py").write_text("import os\nos._exit(4)\n")
    message = "replica A ended with exit code 4 before it was ready"
    with (
        closing(ReplicaSet(AppSettings(app="ends:app"), 1)) as replica_set,
        pytest.raises(ReplicaError, match=message),
    ):
        uvloop.run(replica_set.start())


def test_a_port_is_kept_from_others_while_its_replica_is_dead() -> None:
    replica_set = ReplicaSet(AppSettings(app="apps:asgi"), 1)
    address = replica_set.replicas[0].address
    with pytest.raises(OSError, match="in use"), socket.create_server((address.host, address.port)):
        pass
    replica_set.close()
    with socket.create_server((address.host, address.port)):
        pass
