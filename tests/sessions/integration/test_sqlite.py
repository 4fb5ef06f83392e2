"""SQLite where it hurts: locked, full, deleted, growing, and made by many processes at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from limpet.sessions import EndReason, Sessions, StoreUnavailableError
from limpet.sessions.operations import Create, Load, ReadFacts
from limpet.sessions.record import Field, Key, Meta, Record
from limpet.sessions.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "a secret for tests that is long enough"
DEADLINE_S = 1.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def sessions(path: Path) -> Iterator[Sessions]:
    opened = Sessions(f"sqlite:///{path}", secret=SECRET, deadline_s=DEADLINE_S)
    yield opened
    opened.store.close()


def begin(sessions: Sessions, **fields: Any) -> str:
    session = sessions.open(None)
    session.update(fields)
    session.login("ann")
    return dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]


def test_a_file_that_another_process_keeps_locked(sessions: Sessions, path: Path) -> None:
    cookie = begin(sessions, a=1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    session = sessions.open(cookie)
    assert session["a"] == 1  # readers do not wait for writers
    session["a"] = 2
    started_s = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="locked"):
        sessions.save(session)
    assert time.monotonic() - started_s < 5 * DEADLINE_S  # what waits without a deadline waits for ever
    other.close()
    assert dict(sessions.open(cookie)) == {"a": 1}


def test_a_file_that_is_deleted_or_replaced_while_in_use(sessions: Sessions, path: Path) -> None:
    cookie = begin(sessions, a=1)
    path.unlink()
    assert dict(sessions.open(cookie)) == {}
    assert sessions.events.met == {EndReason.LOST: 1}
    cookie = begin(sessions, a=2)
    other = Sessions(f"sqlite:///{path}", secret=SECRET, deadline_s=DEADLINE_S)
    assert dict(other.open(cookie)) == {"a": 2}  # both use the new file
    other.store.close()


def _operation(until_s: float) -> Create:
    key = Key(os.urandom(32).hex(), os.urandom(16).hex())
    meta = Meta(os.urandom(16), b"u", 0.0, 0.0, until_s, 1800.0)
    return Create(key, Record(1, b"", 0.0, meta, {"a": Field(1, b"1")}), until_s, os.urandom(8))


def test_what_expires_is_removed_by_those_who_come(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", timeout_s=5)
    past_s, later_s = time.time() - 1000, time.time() + 1000
    for _ in range(40):
        store.run(_operation(past_s))
    for _ in range(12):
        store.run(_operation(later_s))
    store.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM limpet_sessions").fetchone() == (12,)
        assert file.execute("SELECT count(*) FROM limpet_users").fetchone()[0] <= 52 - 12
    file.close()


_AT_ONCE = """
import sys
from limpet.sessions.operations import ReadFacts
from limpet.sessions.record import Key
from limpet.sessions.stores import open_store
store = open_store(sys.argv[1], timeout_s=5.0)
sys.stdin.readline()
print(store.run(ReadFacts(float(sys.argv[2]), Key("k", ""))).born_s)
store.close()
"""


def test_many_processes_make_the_file_at_once(path: Path) -> None:
    command = [sys.executable, "-c", _AT_ONCE, f"sqlite:///{path}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes: list[Any] = [subprocess.Popen([*command, str(at)], **pipes) for at in range(1, 7)]  # type: ignore[call-overload]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=30) for process in processes]
    assert {error for _, error in answers} == {""}
    assert len({born_s for born_s, _ in answers}) == 1


_FULL = """
import resource, sys
from limpet.sessions import Sessions, StoreUnavailableError
sessions = Sessions(sys.argv[1], secret=sys.argv[2], deadline_s=5.0)
session = sessions.open(None)
session["a"] = 1
session.login("ann")
cookie = dict(sessions.save(session))["Set-Cookie"].split(";")[0].partition("=")[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
refused = 0
for _ in range(3):
    session = sessions.open(cookie)
    assert session["a"] == 1
    session["b"] = "x" * 300_000
    try:
        sessions.save(session)
    except StoreUnavailableError:
        refused += 1
assert refused == 3, refused
assert dict(sessions.open(cookie)) == {"a": 1}
session = sessions.open(cookie)
session["a"] = 2
sessions.save(session)
assert dict(sessions.open(cookie)) == {"a": 2}
sessions.store.close()
"""


def test_a_disk_that_is_full(path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", _FULL, f"sqlite:///{path}", SECRET]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, "Traceback" in run.stderr) == (0, False)


def test_the_log_of_writes_does_not_grow_for_ever(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", timeout_s=5)
    operations = [_operation(time.time() + 1000) for _ in range(3)]
    big = Record(1, b"", 0.0, operations[0].record.meta, {"a": Field(1, b"x" * 400_000)})
    for _ in range(40):
        store.run(Create(Key(os.urandom(32).hex(), ""), big, time.time() - 1, os.urandom(8)))
    wal = path.with_name(path.name + "-wal")
    assert wal.stat().st_size < 12_000_000  # 16 MB were written
    assert store.run(ReadFacts(1.0, operations[0].key)).born_s > 0
    assert store.run(Load(operations[0].key)).what is None
    store.close()
