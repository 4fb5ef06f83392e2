from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from limpet.sessions.errors import (
    NotReplicatedError,
    NotSupportedByStoreError,
    StoreUnavailableError,
    UndecodableError,
)
from limpet.sessions.operations import Load
from limpet.sessions.record import Key
from limpet.sessions.stores import STORES
from limpet.sessions.stores.guard import Breaker, Guard
from limpet.sessions.stores.memory import MemoryStore

LOAD = Load(Key("k", ""))


class Script(MemoryStore):
    """A store that raises, or answers, as a test says."""

    def __init__(self, *errors: BaseException | None) -> None:
        super().__init__()
        self.errors = list(errors)
        self.asked = 0

    def run(self, operation: Any) -> Any:
        self.asked += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return super().run(operation)


class Silent(MemoryStore):
    async def arun(self, operation: Any) -> Any:
        await asyncio.Event().wait()


def test_one_retry_mends_a_broken_connection() -> None:
    store = Script(ConnectionResetError())
    assert Guard(store).run(LOAD).what is None
    assert store.asked == 2


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("x"), TimeoutError("x"), ValueError("garbage"), TypeError("x")]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_whatever_goes_wrong_is_unknown(error: Exception, is_async: bool) -> None:
    guard = Guard(Script(error, error))
    with pytest.raises(StoreUnavailableError):
        asyncio.run(guard.arun(LOAD)) if is_async else guard.run(LOAD)


@pytest.mark.parametrize("error", [NotSupportedByStoreError("x"), UndecodableError("x")])
def test_an_answer_that_will_not_change_is_not_asked_for_again(error: Exception) -> None:
    store = Script(error)
    with pytest.raises(type(error)):
        Guard(store).run(LOAD)
    assert store.asked == 1


def test_a_silent_store_is_given_up_in_time() -> None:
    guard = Guard(Silent(), deadline_s=0.02)
    with pytest.raises(StoreUnavailableError):
        asyncio.run(guard.arun(LOAD))


def test_one_failure_is_enough_to_stop_blocking_an_event_loop() -> None:
    guard = Guard(Script(OSError(), OSError(), None), mono_s=lambda: 0.0)
    assert not guard.is_slow
    with pytest.raises(StoreUnavailableError):
        guard.run(LOAD)
    assert guard.is_slow
    guard.run(LOAD)
    assert not guard.is_slow


def test_the_breaker_opens_tries_and_closes() -> None:
    breaker = Breaker()
    for _ in range(5):
        assert breaker.allows(0.0)
        breaker.failed(0.0)
    assert breaker.is_open
    assert not breaker.allows(0.9)
    assert breaker.allows(1.0)
    assert not breaker.allows(1.1)
    breaker.succeeded()
    assert breaker.allows(1.1)
    assert not breaker.is_open


def test_an_open_breaker_asks_nothing() -> None:
    now_s = [0.0]
    store = Script(*[OSError()] * 10)
    guard = Guard(store, mono_s=lambda: now_s[0])
    for _ in range(7):
        with pytest.raises(StoreUnavailableError):
            guard.run(LOAD)
    assert store.asked == 10
    assert guard.is_slow
    now_s[0] = 1.0
    assert guard.run(LOAD).what is None
    assert not guard.is_slow


@pytest.mark.parametrize("module", ["", ".asgi", ".wsgi"])
def test_sessions_import_no_server_framework_or_client(module: str) -> None:
    code = f"import sys, limpet.sessions{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    unwanted = {
        "uvloop",
        "gunicorn_h1c",
        "starlette",
        "litestar",
        "flask",
        "django",
        "redis",
        "pymemcache",
        "sqlite3",
        "pydantic",
    }
    assert not unwanted & set(loaded)
    ours = {f"limpet.sessions.{name}" for name in ("asgi", "wsgi", "flask", "django")}
    assert ours & set(loaded) <= {f"limpet.sessions{module}"}


def test_every_store_has_one_line_and_one_file() -> None:
    assert {target.partition(":")[0].rpartition(".")[2] for target in STORES.values()} == {
        "memory",
        "sqlite",
        "redis",
        "memcached",
    }


class InParts(Script):
    """Two servers; an operation concerns the one that its key names."""

    def part(self, operation: Any) -> Any:
        return operation.key.session

    def run(self, operation: Any) -> Any:
        if operation.key.session == "down":
            raise OSError
        return super().run(operation)


def test_a_server_that_is_down_closes_no_door_to_the_others() -> None:
    guard = Guard(InParts(), mono_s=lambda: 0.0)
    for _ in range(9):
        with pytest.raises(StoreUnavailableError):
            guard.run(Load(Key("down", "")))
        assert guard.run(Load(Key("up", ""))).what is None
    assert guard.is_slow  # an event loop must not wait for the one that is down


def test_replicas_that_do_not_confirm_are_no_reason_not_to_read() -> None:
    guard = Guard(Script(*[NotReplicatedError("x")] * 20), mono_s=lambda: 0.0)
    for _ in range(9):
        with pytest.raises(NotReplicatedError):
            guard.run(LOAD)
