"""Sessions in an SQLite file, for several processes on one machine. `sqlite:///path`.

Write-ahead logging, so readers never wait for a writer. What stands at a key is one blob with a
revision; a write names the revision that was read in its WHERE clause, and the user's epoch, so
that nothing is overwritten unseen. What must survive a power cut (a login, a logout, a
revocation) is synced to disk before the answer; other writes survive a crash of the process.

Whoever adds a session removes some that have expired, so the file does not grow. A connection is
used only while its file is the one at the path: after the file was deleted or replaced, all processes
go on with the same new one instead of each with its own ghost.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast
from urllib.parse import unquote, urlsplit
from weakref import WeakSet

from limpet.errors import ConfigError
from limpet.sessions.errors import StoreUnavailableError
from limpet.sessions.operations import (
    Commit,
    Create,
    End,
    Facts,
    ListUser,
    Load,
    Operation,
    Purge,
    ReadFacts,
    RevokeEveryone,
    RevokeUser,
    Stored,
)
from limpet.sessions.policy import STORE_SLACK_S
from limpet.sessions.record import Key, Record, pack_stored, unpack_stored
from limpet.sessions.stores import Finding, processes
from limpet.sessions.stores.in_time import Within, left_s
from limpet.sessions.stores.sqlite_versions import Versions
from limpet.sessions.stores.transition import transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.sessions.stores import Listener

A = TypeVar("A")

_SCHEMA_VERSION = 1
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS limpet_sessions (
    session TEXT PRIMARY KEY, user TEXT NOT NULL, revision INTEGER NOT NULL, until_s REAL NOT NULL,
    data BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS limpet_sessions_user ON limpet_sessions (user) WHERE user <> ''",
    "CREATE INDEX IF NOT EXISTS limpet_sessions_until ON limpet_sessions (until_s)",
    """CREATE TABLE IF NOT EXISTS limpet_users (
    user TEXT PRIMARY KEY, epoch BLOB NOT NULL, until_s REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS limpet_users_until ON limpet_users (until_s)",
    "CREATE TABLE IF NOT EXISTS limpet_facts (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_LOAD = """SELECT (SELECT epoch FROM limpet_users WHERE user = ?2), s.revision, s.data FROM (SELECT 1)
    LEFT JOIN limpet_sessions AS s ON s.session = ?1 AND s.until_s > ?3"""
_WRITE = """UPDATE limpet_sessions SET revision = revision + 1, until_s = ?, data = ?
    WHERE session = ? AND revision = ? AND (user = '' OR EXISTS
    (SELECT 1 FROM limpet_users AS u WHERE u.user = limpet_sessions.user AND u.epoch = ?))"""
_KEEP_EPOCH = "UPDATE limpet_users SET until_s = max(until_s, ?) WHERE user = ?"
_PURGE_SESSIONS = """DELETE FROM limpet_sessions WHERE session IN
    (SELECT session FROM limpet_sessions WHERE until_s <= ? ORDER BY until_s LIMIT ?)"""
_PURGE_USERS = """DELETE FROM limpet_users WHERE user IN
    (SELECT user FROM limpet_users WHERE until_s <= ? ORDER BY until_s LIMIT ?)"""
#: Tries of a write that others keep overtaking; each failure means that another one succeeded.
_MAX_TRIES = 100
#: How many expired sessions are removed when one is added.
_PURGE_COUNT = 4
_MAX_IDLE = 32
_BULK_S = 30.0
_MAX_WAL_BYTES = 16 * 1024 * 1024
_LOCKED_PAUSE_S = 0.005


class _Open(NamedTuple):
    # A connection, and the device and inode of its file.
    connection: sqlite3.Connection
    file: tuple[int, int] | None


class SqliteStore:
    """A file that several processes share.

    Args:
        url: `sqlite:///relative/path` or `sqlite:////absolute/path`.
        timeout_s: how long an operation waits for other writers.
        now_s: wall clock.

    Raises:
        ConfigError: no path.
    """

    def __init__(self, url: str, *, timeout_s: float = 0.125, now_s: Callable[[], float] = time.time) -> None:
        self._path = unquote(urlsplit(url).path).removeprefix("/")
        if not self._path:
            raise ConfigError([f"sessions.store: {url!r} names no file; write sqlite:///PATH"])
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._idle: list[_Open] = []
        self._lock = threading.Lock()
        self._versions: WeakSet[Versions] = WeakSet()
        processes.watch(self)

    def run(self, operation: Operation[A]) -> A:
        """Perform an operation, blocking."""
        try:
            time_s = _BULK_S if operation.is_bulk else self._timeout_s
            with Within(time_s), self._connection() as connection:
                return cast("A", self._perform(connection, operation))
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(f"{self._path}: {error}") from error

    async def arun(self, operation: Operation[A]) -> A:
        """Perform an operation in a thread: even a reader may have to wait for the disk."""
        return await asyncio.to_thread(self.run, operation)

    def now_s(self) -> float:
        """Return our own wall clock."""
        return self._now_s()

    @property
    def identity(self) -> str:
        """The file, and the machine that it is on; empty as long as there is none."""
        file = _file(self._path)
        return f"sqlite {socket.gethostname()} {file[0]}:{file[1]}" if file is not None else ""

    def part(self, operation: Operation[Any]) -> None:
        """Return None: there is one part."""

    def watch(self, listener: Listener) -> Versions:  # noqa: ARG002  # who has copies asks, and is not told
        """Return what vouches for copies."""
        versions = Versions(self._path, _file)
        self._versions.add(versions)
        return versions

    def check(self) -> list[Finding]:
        """Tell if the file cannot be used."""
        try:
            self.run(Purge(self._now_s()))
        except StoreUnavailableError as error:
            return [
                Finding("S201", "error", str(error), "check the path, its permissions and the disk's space")
            ]
        return []

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.connection.close()
        for versions in list(self._versions):
            versions.close()

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        self.close()

    def before_fork(self) -> None:
        """Close what is not in use: SQLite's locks do not survive a fork."""
        self._lock.acquire()
        while self._idle:
            self._idle.pop().connection.close()
        for versions in self._versions:
            versions.before_fork()

    def after_fork(self, *, is_child: bool) -> None:  # noqa: ARG002  # both have no connection now
        """Let the process make connections."""
        for versions in self._versions:
            versions.after_fork()
        self._lock.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        used = self._take() or self._connect()
        try:
            yield used.connection
        except BaseException:
            used.connection.close()
            raise
        with self._lock:
            is_kept = len(self._idle) < _MAX_IDLE
            if is_kept:
                self._idle.append(used)
        if not is_kept:
            used.connection.close()

    def _take(self) -> _Open | None:
        with self._lock:
            used = self._idle.pop() if self._idle else None
        if used is not None and used.file != _file(self._path):
            used.connection.close()
            self.close()
            return None
        return used

    def _connect(self) -> _Open:
        while True:
            connection = sqlite3.connect(
                self._path, timeout=left_s(), isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection)
            except sqlite3.OperationalError as error:
                connection.close()
                # Another process is just making the file; SQLite does not wait for that by itself.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                time.sleep(min(_LOCKED_PAUSE_S, left_s()))
            except BaseException:
                connection.close()
                raise
            else:
                return _Open(connection, _file(self._path))

    def _perform(self, connection: sqlite3.Connection, operation: Operation[Any]) -> Any:
        match operation:
            case Load(key):
                return self._read(connection, key)[0]
            case Commit():
                return self._change(connection, operation)
            case Create():
                with _durable(connection):
                    return self._create(connection, operation)
            case End():
                with _durable(connection):
                    return self._change(connection, operation)
            case RevokeUser(user, epoch):
                _arm(connection)
                with _durable(connection):
                    connection.execute("UPDATE limpet_users SET epoch = ? WHERE user = ?", (epoch, user))
            case ListUser(user):
                return self._list(connection, user)
            case RevokeEveryone(now_s):
                with _durable(connection), _transaction(connection):
                    connection.execute("DELETE FROM limpet_sessions")
                    connection.execute("DELETE FROM limpet_users")
                    connection.execute(
                        "INSERT OR REPLACE INTO limpet_facts VALUES ('everyone_s', ?)", (now_s,)
                    )
            case ReadFacts(now_s, _):
                return _facts(connection, now_s)
            case Purge(now_s):
                return _purge(connection, now_s)
        return None

    def _read(self, connection: sqlite3.Connection, key: Key) -> tuple[Stored, int]:
        row = connection.execute(_LOAD, (key.session, key.user, self._now_s())).fetchone()
        epoch, revision, data = row
        what = unpack_stored(data) if data is not None else None
        return Stored(what, epoch if key.user else b""), revision or 0

    def _create(self, connection: sqlite3.Connection, operation: Create) -> Any:
        key = operation.key
        with _transaction(connection):
            if key.user:
                connection.execute(
                    "INSERT INTO limpet_users VALUES (?, ?, ?)"
                    " ON CONFLICT (user) DO UPDATE SET until_s = max(until_s, excluded.until_s)",
                    (key.user, operation.seed, operation.record.meta.ends_s + STORE_SLACK_S),
                )
            before, _ = self._read(connection, key)
            answer, what = transition(operation, before)
            if what is not None:
                row = (key.session, key.user, operation.until_s, pack_stored(what))
                connection.execute("INSERT OR REPLACE INTO limpet_sessions VALUES (?, ?, 0, ?, ?)", row)
                _purge(connection, self._now_s(), _PURGE_COUNT)
        return answer

    def _change(self, connection: sqlite3.Connection, operation: Commit | End) -> Any:
        key = operation.key
        for _ in range(_MAX_TRIES):
            before, revision = self._read(connection, key)
            answer, what = transition(operation, before)
            if what is None:
                return answer
            row = (operation.until_s, pack_stored(what), key.session, revision, before.epoch)
            if isinstance(operation, Commit) and operation.edit.meta is not None:
                _arm(connection)
                connection.execute(_KEEP_EPOCH, (operation.edit.meta.ends_s + STORE_SLACK_S, key.user))
            _arm(connection)
            if connection.execute(_WRITE, row).rowcount == 1:
                return answer
        raise StoreUnavailableError(f"{self._path}: others kept writing to the same session")

    def _list(self, connection: sqlite3.Connection, user: str) -> list[tuple[Key, Record]]:
        rows = connection.execute(
            "SELECT s.session, s.data, u.epoch FROM limpet_sessions AS s JOIN limpet_users AS u USING (user)"
            " WHERE user = ? AND s.until_s > ?",
            (user, self._now_s()),
        ).fetchall()
        stored = [(Key(session, user), Stored(unpack_stored(data), epoch)) for session, data, epoch in rows]
        return [(key, each.alive) for key, each in stored if each.alive is not None]


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    _arm(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def _durable(connection: sqlite3.Connection) -> Iterator[None]:
    # If this fails half-way the connection is closed, so the setting need not be restored.
    connection.execute("PRAGMA synchronous = FULL")
    yield
    connection.execute("PRAGMA synchronous = NORMAL")


def _facts(connection: sqlite3.Connection, now_s: float) -> Facts:
    connection.execute("INSERT OR IGNORE INTO limpet_facts VALUES ('born_s', ?)", (now_s,))
    found = dict(connection.execute("SELECT name, value FROM limpet_facts").fetchall())
    return Facts(found["born_s"], found.get("everyone_s", 0.0))


def _purge(connection: sqlite3.Connection, now_s: float, limit: int = -1) -> int:
    removed = connection.execute(_PURGE_SESSIONS, (now_s, limit)).rowcount
    connection.execute(_PURGE_USERS, (now_s, limit))
    return removed


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
    if connection.execute("PRAGMA user_version").fetchone()[0] < _SCHEMA_VERSION:
        with _transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)


def _arm(connection: sqlite3.Connection) -> None:
    # A statement waits for other writers as long as the operation may still take.
    connection.execute(f"PRAGMA busy_timeout = {math.ceil(left_s() * 1000)}")


def holds_sessions(path: str) -> bool:
    """Return whether a database that is there has limpet's tables; nothing is written to it.

    Raises:
        sqlite3.Error: it cannot be read, or is no database.
    """
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'limpet_sessions'").fetchone()
    return found is not None


def _file(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # five times as fast, and it is done for every operation
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
