"""Who hears of every change in Redis or Valkey: one connection to each primary, in a thread.

The connection speaks RESP3 and has asked for `CLIENT TRACKING ON BCAST PREFIX limpet:{`, so the server tells
of every session and user that changes, ends or runs out, whoever does it, and keeps no list of who has read
what. Every `BEAT_S` the connection is asked something; its answers come in order with what it tells, so a
question that was answered proves that nothing of before it is missing. The *lease* is `MAX_STALE_S` from
the moment at which the last answered question was sent: a connection that is half open, a server that
hangs, or a machine that was asleep lets it run out without anybody having to notice.

What is asked also tells whether the server is still the one to listen to: `ROLE` of every server; of
Sentinel, who the primary is; of a Cluster's servers their epochs, which a failover and the move of a slot
change. Anything odd, and every error and redirection that the other connections meet (`doubt`), makes the
*stamp* another one, which voids every copy in one step; then all is opened anew.

Source: Valkey documentation, "Client-side caching"; RESP3 specification, "Push type".
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import hiredis

from limpet.sessions.stores import MAX_STALE_S, redis_connections
from limpet.sessions.stores.in_time import Within
from limpet.sessions.stores.redis_check import in_short
from limpet.sessions.stores.redis_cluster import Cluster
from limpet.sessions.stores.redis_commands import TRACKED_PREFIX, changed_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limpet.sessions.stores import Listener
    from limpet.sessions.stores.redis_connections import Maker, Target
    from limpet.sessions.stores.redis_links import Command

LOG = logging.getLogger("limpet.sessions")
BEAT_S = 0.3
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 1.0
#: Name look-ups, the TLS handshakes and the log-ins included.
_OPEN_S = 2.0
_READ_BYTES = 65536
_BEGIN: list[Command] = [
    ("HELLO", 3),
    ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", TRACKED_PREFIX),
]
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError)


class _OtherwiseError(Exception):
    # The servers are no longer what they were when the connections were opened.
    pass


class Tracking:
    """The watch of a store; its thread begins with the first session that is read.

    Args:
        target: what the store's URL says.
        timeout_s: how long a connection may take to be made.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self.listeners: WeakSet[Listener] = WeakSet()
        self._lock = threading.Lock()
        self._stamp: object | None = None
        self._lease_end_s = -math.inf
        self._thread: _Thread | None = None

    def begin(self) -> object | None:
        """Return the stamp of what is read from now on; None while nobody vouches for it."""
        if self._thread is None:
            self._start()
        return self._stamp if time.monotonic() < self._lease_end_s else None

    def holds(self, stamp: object) -> bool:
        """Whether every change since then would have been told, but for those of the lease."""
        return stamp is self._stamp and time.monotonic() < self._lease_end_s

    def doubt(self) -> None:
        """Void every copy and open the connections anew: another connection has met something odd."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            thread.is_doubted = True
        self.void()
        thread.wake()

    def close(self) -> None:
        """End the thread and its connections; the next session that is read begins another one."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.end()
        self.void()

    def before_fork(self) -> None:
        """Make sure that nothing is half changed."""
        self._lock.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        """Let the child have a thread of its own: its parent's does not run here."""
        self._lock.release()
        if is_child and self._thread is not None:
            self._thread.forget()
            self._thread, self._stamp = None, None

    # For the thread.

    def vouch(self, thread: _Thread, until_s: float) -> bool:
        """Lengthen the lease, if nothing speaks against it."""
        with self._lock:
            if thread is not self._thread or thread.is_doubted:
                return False
            self._lease_end_s = until_s
            if self._stamp is None:
                self._stamp = object()
            return True

    def void(self) -> None:
        """Let no stamp of before hold."""
        with self._lock:
            was, self._stamp = self._stamp, None
        if was is not None:
            for each in list(self.listeners):
                each.voided()

    def tell(self, names: list[bytes] | None) -> None:
        """Pass on which keys have changed; None for all."""
        listeners = list(self.listeners)
        if names is None:
            for each in listeners:
                each.forget_all()
            return
        sessions, users = changed_by(names)
        if sessions or users:
            for each in listeners:
                each.forget(sessions, users)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self, self._target, self._timeout_s)
                self._thread.start()


class _Thread(threading.Thread):
    # Opens the connections, listens, and begins again when something is odd.

    def __init__(self, tracking: Tracking, target: Target, timeout_s: float) -> None:
        super().__init__(name="limpet-near-cache", daemon=True)
        self._tracking = tracking
        self._target = target
        self._timeout_s = timeout_s
        self._heard, self._rung = socket.socketpair()
        for each in (self._heard, self._rung):
            each.setblocking(False)
        self._servers: list[_Server] = []
        self._has_ended = False
        self._told = ""
        self._pause_s = _FIRST_PAUSE_S
        self.is_doubted = False

    def wake(self) -> None:
        with suppress(OSError):  # it has ended; or is full of bells already
            self._rung.send(b"!")

    def end(self) -> None:
        self._has_ended = True
        self.wake()
        if self.is_alive() and self is not threading.current_thread():
            self.join(_OPEN_S)  # it may be about to open a connection to what does not answer

    def forget(self) -> None:
        # In the child of a fork: the parent goes on with what these are connected to.
        for each in (*(server.sock for server in self._servers), self._heard, self._rung):
            with suppress(OSError):
                os.close(each.detach())

    def run(self) -> None:
        while not self._has_ended:
            try:
                with ExitStack() as until_odd:
                    self._follow(until_odd)
            except Exception as error:  # noqa: BLE001  # whatever it is, there are no copies meanwhile
                self._tracking.void()
                self._say(error)
            if not self._has_ended:
                self._wait(self._pause_s)
                self._pause_s = min(self._pause_s * 2, _LAST_PAUSE_S)
        self._heard.close()
        self._rung.close()

    def _follow(self, until_odd: ExitStack) -> None:
        self.is_doubted = False
        until_odd.callback(self._close_all)
        is_cluster = self._target.kind == "cluster"
        with Within(max(_OPEN_S, self._timeout_s)):
            place = _Place(self._target, self._timeout_s, until_odd)
            for connection in place.connections():
                until_odd.callback(connection.disconnect)
                self._servers.append(_Server(connection, is_cluster=is_cluster))
        selector = until_odd.enter_context(selectors.DefaultSelector())
        selector.register(self._heard, selectors.EVENT_READ)
        for server in self._servers:
            selector.register(server.sock, selectors.EVENT_READ, server)
        is_first = True
        while not self._has_ended:
            sent_s = time.monotonic()
            for server in self._servers:
                server.ask()
            place.check(self._servers, is_first=is_first)
            while any(server.is_asked for server in self._servers):
                self._listen(selector, sent_s + MAX_STALE_S)
                if time.monotonic() >= sent_s + MAX_STALE_S:
                    raise TimeoutError("no answer in time")
            if not self._tracking.vouch(self, sent_s + MAX_STALE_S):
                raise _OtherwiseError
            is_first, self._pause_s, self._told = False, _FIRST_PAUSE_S, ""
            while time.monotonic() < sent_s + BEAT_S and not self._has_ended:
                self._listen(selector, sent_s + BEAT_S)

    def _close_all(self) -> None:
        self._servers = []

    def _listen(self, selector: selectors.BaseSelector, until_s: float) -> None:
        for key, _ in selector.select(max(0.0, until_s - time.monotonic())):
            if key.data is None:
                self._hear()
            else:
                for names in key.data.read():
                    self._tracking.tell(names)
        if self.is_doubted or self._has_ended:
            raise _OtherwiseError

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._heard.recv(_READ_BYTES)

    def _wait(self, seconds: float) -> None:
        # A doubt is no reason to hurry: what is odd is mostly odd for a while. The end is.
        end_s = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._heard, selectors.EVENT_READ)
            while not self._has_ended and (left_s := end_s - time.monotonic()) > 0:
                if selector.select(left_s):
                    self._hear()

    def _say(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {in_short(error)}"
        if not isinstance(error, _OtherwiseError) and text != self._told:
            self._told = text
            LOG.warning("near-cache: no copies of sessions until the store can be followed: %s", text)


class _Place:
    # Where the servers are that have to be listened to.

    def __init__(self, target: Target, timeout_s: float, until_odd: ExitStack) -> None:
        self._target = target
        self._maker: Maker = redis_connections.maker(target, timeout_s)
        self._cluster = Cluster(self._maker.make, target.addresses) if target.kind == "cluster" else None
        if self._cluster is not None:
            until_odd.callback(self._cluster.close)
        if self._maker.sentinel is not None:
            for each in self._maker.sentinel.sentinels:
                until_odd.callback(each.close)

    def connections(self) -> Iterator[Any]:
        if self._cluster is None:
            yield self._maker.make()
            return
        self._cluster.look()
        for host, port in sorted(self._cluster.slots.primaries()):
            yield self._maker.make(host=host, port=port)

    def check(self, servers: list[_Server], *, is_first: bool) -> None:
        # After the questions were sent, so that the answer is about a moment of the lease.
        if self._maker.sentinel is not None:
            found = self._maker.sentinel.discover_master(self._target.service)
            if found != servers[0].address:
                raise _OtherwiseError
        elif self._cluster is not None and is_first:
            # Their epochs are known from now on; who has joined before that is seen here.
            before = self._cluster.slots.primaries()
            self._cluster.look()
            if self._cluster.slots.primaries() != before:
                raise _OtherwiseError


class _Server:
    # A connection to a primary that tells of changes.

    def __init__(self, connection: Any, *, is_cluster: bool) -> None:
        connection.connect()
        self.address = (connection.host, connection.port)
        self._reader = hiredis.Reader(replyError=_Refusal)
        timed = connection._sock  # noqa: SLF001  # redis-py has no name for it
        timed.sendall(b"".join(map(hiredis.pack_command, _BEGIN)))
        for _ in _BEGIN:
            self._begin(timed)
        self.sock: Any = timed._sock  # noqa: SLF001  # from now on without its deadlines
        self.sock.setblocking(False)
        self._questions: list[Command] = [("ROLE",), ("CLUSTER", "INFO")] if is_cluster else [("ROLE",)]
        self._asking = b"".join(map(hiredis.pack_command, self._questions))
        self._answers: list[Any] = []
        self._epochs: list[bytes] | None = None
        self.is_asked = False

    def _begin(self, timed: Any) -> None:
        while (reply := self._reader.gets()) is False:
            data = timed.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise reply

    def ask(self) -> None:
        # A server that does not even take this has been deaf for long.
        if self.sock.send(self._asking) != len(self._asking):
            raise TimeoutError("the server takes nothing")
        self._answers, self.is_asked = [], True

    def read(self) -> Iterator[list[bytes] | None]:
        """Yield which keys have changed, and take note of answers."""
        while True:
            try:
                data = self.sock.recv(_READ_BYTES)
            except _WOULD_BLOCK:
                return
            if not data:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, hiredis.PushNotification):
                    if reply[0] == b"invalidate":
                        yield reply[1]
                else:
                    self._answer(reply)

    def _answer(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        self._answers.append(reply)
        if len(self._answers) < len(self._questions):
            return
        self.is_asked = False
        if self._answers[0][0] != b"master":
            raise _OtherwiseError
        if len(self._questions) > 1:
            epochs = _epochs(self._answers[1])
            self._epochs = self._epochs or epochs
            if epochs != self._epochs:
                raise _OtherwiseError


class _Refusal(Exception):  # noqa: N818  # it is the server's
    pass


def _epochs(info: bytes | str) -> list[bytes]:
    text = info if isinstance(info, bytes) else info.encode()
    lines = text.splitlines()
    if b"cluster_state:ok" not in lines:
        raise _OtherwiseError
    return [each for each in lines if each.startswith((b"cluster_current_epoch:", b"cluster_my_epoch:"))]
