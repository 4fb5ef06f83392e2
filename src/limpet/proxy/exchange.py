"""One request, from its head to its line in the log.

Theory of operation. An exchange is routed, perhaps queued, perhaps connected, then sent; the
response is relayed part by part; then it finishes, once, whatever happened. Its phase says
what it waits for:

    QUEUED -> CONNECTING -> AWAITING -> STREAMING -> DONE
                  ^             |           |
                  +--- retry ---+           +-> TUNNEL -> DONE

It owns a slot of its target from leaving the queue until it finishes, and a connection from
being sent. The client's connection calls `on_client_*`, the target's calls the other `on_*`;
both happen on one event loop, so nothing here is interrupted. Decisions (which target, whether
to repeat, what to bind) are made by `core`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

from limpet.core.clock import Now
from limpet.core.retry import may_retry
from limpet.core.route import bind_response, finish, reroute, route
from limpet.errors import ErrorKind
from limpet.proxy.error_page import error_response
from limpet.proxy.http1.chunked import chunk, last_chunk
from limpet.proxy.http1.request import edit_request
from limpet.proxy.http1.response import CHUNKED, UNTIL_CLOSE, edit_response
from limpet.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    import asyncio

    from limpet.core.model import TargetLimits
    from limpet.core.route import Decision
    from limpet.core.target import TargetState
    from limpet.proxy.client_protocol import ClientConnection
    from limpet.proxy.http1.request import Request
    from limpet.proxy.http1.response import Response
    from limpet.proxy.pool import TargetPool
    from limpet.proxy.target_protocol import TargetConnection

#: Methods that may be sent again when no response came: safe ones. Source: RFC 9110 section 9.2.1.
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

QUEUED, CONNECTING, AWAITING, STREAMING, TUNNEL, DONE = range(6)


class Attempt(NamedTuple):
    """A target that was tried in vain."""

    target_id: str
    error: ErrorKind
    detail: str


class Exchange:
    """A request and what became of it.

    Attributes:
        request_id: limpet's or the client's own, for the log and `limpet explain`.
        started: when the head was complete, by both clocks.
        sent_s: monotonic; when the request was last written to a target; 0 if never.
        first_byte_s: monotonic; when the response's head came; 0 if never.
        ended_s: monotonic; when the last byte was written.
        status: sent to the client; 0 if nothing was.
        error: why limpet itself ended the request; None if a response was relayed whole.
        attempts: targets that were tried in vain.
        bytes_in: body bytes received from the client.
        bytes_out: body bytes sent to the client.
    """

    __slots__ = (
        "_chunks_to_client",
        "_connecting",
        "_is_target_paused",
        "_pending_body",
        "_pool",
        "_tried_fresh",
        "attempts",
        "bytes_in",
        "bytes_out",
        "client",
        "closes_client",
        "connection",
        "decision",
        "detail",
        "ended_s",
        "error",
        "first_byte_s",
        "has_response",
        "has_sent",
        "is_request_complete",
        "phase",
        "request",
        "request_id",
        "sent_s",
        "started",
        "status",
    )

    def __init__(self, client: ClientConnection, request: Request, request_id: bytes) -> None:
        self.client = client
        self.request = request
        self.request_id = request_id
        self.started = Now(time.time(), time.monotonic())
        self.sent_s = self.first_byte_s = self.ended_s = 0.0
        self.status = 0
        self.error: ErrorKind | None = None
        self.detail = ""
        self.decision: Decision | None = None
        self.attempts: list[Attempt] = []
        self.bytes_in = self.bytes_out = 0
        self.phase = QUEUED
        self.is_request_complete = False
        self.has_sent = False
        self.has_response = False
        self.closes_client = False
        self.connection: TargetConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._pool: TargetPool | None = None
        self._pending_body: list[bytes] = []
        self._tried_fresh = False
        self._is_target_paused = False
        self._chunks_to_client = False

    # the way to the target

    def start(self) -> None:
        """Route the request and set it on its way."""
        proxy = self.client.proxy
        group = proxy.snapshot.groups[self.client.listener.group]
        self.decision = route(group, self.request, self.started, proxy.rng)
        self._dispatch(self.decision)

    def refuse(self, kind: ErrorKind, detail: str) -> None:
        """End a request that must not reach any target."""
        self._fail(kind, detail)

    def leave_queue(self) -> None:
        """Go on, now that the target has a slot; the pool has taken this out of its queue."""
        decision = cast("Decision", self.decision)
        target = cast("TargetState", decision.target)
        target.queued -= 1
        if target.takes_sticky:
            self._take_slot(self.client.proxy.pool(target))
        else:
            self._retry_elsewhere(ErrorKind.NO_TARGET, "the target left while the request was queued")

    def _dispatch(self, decision: Decision) -> None:
        target = decision.target
        if target is None:
            self._fail(decision.error or ErrorKind.NO_TARGET, decision.reason)
            return
        target.requests += 1
        pool = self.client.proxy.pool(target)
        limits = decision.group.limits
        if not limits.max_in_flight or target.in_flight < limits.max_in_flight:
            self._take_slot(pool)
        elif len(pool.waiting) >= limits.max_queued:
            self._fail(ErrorKind.QUEUE_FULL, f"{target.id} is full and so is its queue")
        else:
            self.phase = QUEUED
            self._pool = None
            pool.waiting.append(self)
            target.queued += 1
            self.client.deadline_s = time.monotonic() + limits.queue_timeout_s

    def _take_slot(self, pool: TargetPool) -> None:
        self._pool = pool
        pool.enter(self)
        connection = pool.take(is_repeatable=self._is_repeatable(), now_s=self.started.mono_s)
        if connection is not None:
            self._send(connection)
        else:
            self._connect(pool)

    def _connect(self, pool: TargetPool) -> None:
        self.phase = CONNECTING
        self.client.deadline_s = time.monotonic() + self._limits.connect_timeout_s
        self._connecting = self.client.proxy.loop.create_task(self._await_connection(pool))

    async def _await_connection(self, pool: TargetPool) -> None:
        try:
            connection = await pool.connect()
        except OSError as error:
            self._connecting = None
            self._attempt_failed(ErrorKind.CONNECT_FAILED, f"cannot connect: {error.strerror or error}")
        else:
            self._connecting = None
            self._send(connection)

    def _send(self, connection: TargetConnection) -> None:
        self.connection = connection
        connection.start(self)
        head = edit_request(
            self.request,
            cast("Decision", self.decision).group.stickiness.own_cookies,
            self.client.added_fields(self.request, self.request_id),
        )
        self.has_sent = True
        self.sent_s = time.monotonic()
        self.phase = AWAITING
        if self._pending_body:
            head = b"".join([head, *self._pending_body])
            self._pending_body.clear()
        connection.transport.write(head)
        if self.is_request_complete:
            self.client.deadline_s = self.sent_s + self._limits.response_timeout_s
        elif self.phase == AWAITING:  # writing may have ended it
            self.client.deadline_s = self.sent_s + self.client.limits.body_timeout_s
            self.client.resume()

    # called by the client's connection

    def on_client_body(self, data: bytes) -> None:
        """Pass a part of the request's body on; `data` is not empty."""
        self.bytes_in += len(data)
        if self.request.body_length < 0:
            data = chunk(data)
        self._to_target(data)

    def on_client_body_end(self, trailers: bytes) -> None:
        """Note that the request is complete."""
        self.is_request_complete = True
        if self.request.body_length < 0:
            self._to_target(last_chunk(trailers))
        if self.phase == AWAITING:
            self.client.deadline_s = time.monotonic() + self._limits.response_timeout_s

    def on_client_lost(self) -> None:
        """End the exchange: the client is gone."""
        if self.phase == DONE:
            return
        self.error = ErrorKind.CLIENT_CLOSED
        self.status = self.status or self.error.status
        self.detail = "the client closed the connection"
        self._finish()

    def on_deadline(self) -> None:
        """End the exchange, or this attempt: what it waited for did not come in time."""
        if self.phase == QUEUED:
            self._fail(ErrorKind.QUEUE_TIMEOUT, "no slot of the target came free in time")
        elif self.phase == CONNECTING:
            self._attempt_failed(ErrorKind.CONNECT_TIMEOUT, "the target did not accept the connection in time")
        elif self.phase == AWAITING and not self.is_request_complete and not self.client.is_paused:
            self._fail(ErrorKind.REQUEST_TIMEOUT, "the request body did not come in time")
        elif self.phase == AWAITING:
            self._attempt_failed(ErrorKind.RESPONSE_TIMEOUT, "the target did not answer in time")
        elif self.phase == STREAMING and self._is_target_paused:
            self.on_client_lost()
            self.detail = "the client did not read the response in time"
        elif self.phase == STREAMING:
            self._fail(ErrorKind.RESPONSE_TIMEOUT, "the response stopped in its middle")
        elif self.phase == TUNNEL:
            self.end_tunnel()

    def on_bad_body(self, kind: ErrorKind, detail: str) -> None:
        """End the exchange: the request's body is malformed or too large."""
        self._fail(kind, detail)

    def abort(self) -> None:
        """End the exchange: its target is deregistered and the delay is over."""
        self._fail(ErrorKind.DEREGISTERED, "the target was deregistered and its delay is over")

    # called by the target's connection

    def on_interim(self, response: Response) -> None:
        """Relay a 1xx response; HTTP/1.0 knows none (RFC 9110 section 15.2)."""
        if self.request.minor_version == 1:
            self.client.transport.write(edit_response(response, b""))

    def on_response(self, response: Response, body: bytes, *, is_last: bool) -> None:
        """Relay a final response's head, with the part of the body that came with it."""
        now_s = self.first_byte_s = time.monotonic()
        self.status = response.status
        self.has_response = True
        self.phase = STREAMING
        self.bytes_out += len(body)
        head = edit_response(response, self._fields_for_client(response))
        if body and self._chunks_to_client:
            body = chunk(body)
        if is_last:
            self.client.transport.write(head + body if body else head)
            self._finish()
        else:
            self.client.deadline_s = now_s + self._limits.idle_timeout_s
            self.client.transport.write(head + body if body else head)

    def on_body(self, data: bytes) -> None:
        """Relay a part of the response's body; `data` is not empty."""
        self.bytes_out += len(data)
        if not self._is_target_paused:
            self.client.deadline_s = time.monotonic() + self._limits.idle_timeout_s
        self.client.transport.write(chunk(data) if self._chunks_to_client else data)

    def on_last_body(self, data: bytes, trailers: bytes) -> None:
        """Relay the end of the response's body."""
        self.bytes_out += len(data)
        if self._chunks_to_client:
            data = (chunk(data) if data else b"") + last_chunk(trailers)
        if data:
            self.client.transport.write(data)
        self._finish()

    def on_switch(self, response: Response, rest: bytes) -> None:
        """Relay a 101 and join both sides. Source: RFC 9110 section 7.8."""
        if not self.request.upgrade:
            self.on_target_failure(ErrorKind.BAD_RESPONSE, "the target switched protocols unasked")
            return
        connection = cast("TargetConnection", self.connection)
        self.first_byte_s = time.monotonic()
        self.status = response.status
        self.has_response = True
        self.closes_client = True
        fields = self._fields_for_client(response)
        switch = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % (response.upgrade or self.request.upgrade)
        self.phase = TUNNEL
        tunnel = connection.tunnel = Tunnel(self, connection)
        self.client.transport.write(edit_response(response, fields + switch) + rest)
        self.extend_tunnel()
        self.client.open_tunnel(tunnel)

    def on_target_failure(self, kind: ErrorKind, detail: str) -> None:
        """End this attempt: the target's connection broke or talked nonsense."""
        if self.has_response:
            self._fail(kind, detail)
        else:
            self._attempt_failed(kind, detail)

    # back-pressure: each side is read no faster than the other reads

    def pause_client(self) -> None:
        """Stop reading the request's body; the target is slow."""
        self.client.pause()
        if self.phase == AWAITING:
            self.client.deadline_s = time.monotonic() + self._limits.idle_timeout_s

    def resume_client(self) -> None:
        """Go on reading the request's body."""
        self.client.resume()
        if self.phase == AWAITING and not self.is_request_complete:
            self.client.deadline_s = time.monotonic() + self.client.limits.body_timeout_s

    def pause_target(self) -> None:
        """Stop reading the response; the client is slow."""
        if self.connection is not None and not self.connection.is_closed:
            self._is_target_paused = True
            self.connection.transport.pause_reading()
            self.client.deadline_s = time.monotonic() + self.client.limits.send_timeout_s

    def resume_target(self) -> None:
        """Go on reading the response."""
        if self._is_target_paused and self.connection is not None:
            self._is_target_paused = False
            self.connection.transport.resume_reading()
            self.client.deadline_s = time.monotonic() + self._limits.idle_timeout_s

    # tunnels

    def extend_tunnel(self) -> None:
        """Note that bytes went through the tunnel."""
        self.client.deadline_s = time.monotonic() + self._limits.tunnel_idle_timeout_s

    def end_tunnel(self) -> None:
        """End the exchange of a tunnel, and both connections."""
        if self.phase == DONE:
            return
        connection = cast("TargetConnection", self.connection)
        tunnel = cast("Tunnel", connection.tunnel)
        connection.tunnel = None
        connection.exchange = None
        self.connection = None
        tunnel.close()
        self._finish()

    # inside

    @property
    def _limits(self) -> TargetLimits:
        return cast("Decision", self.decision).group.limits

    def _is_repeatable(self) -> bool:
        return self.request.method in SAFE_METHODS and self.request.body_length == 0

    def _to_target(self, data: bytes) -> None:
        if self.phase == DONE:
            return
        if self.connection is None:
            self._pending_body.append(data)
            self.client.pause()
            return
        if self.phase == AWAITING and not self.client.is_paused:
            self.client.deadline_s = time.monotonic() + self.client.limits.body_timeout_s
        if not self.connection.is_closed:
            self.connection.transport.write(data)

    def _fields_for_client(self, response: Response) -> bytes:
        # Everything that limpet adds to a final response, and how its body is framed.
        request = self.request
        proxy = self.client.proxy
        fields = b"X-Request-Id: %b\r\n" % self.request_id
        has_date = False
        for name, _ in response.headers:
            if name == b"date":
                has_date = True
            elif name == b"x-request-id":
                fields = b""
        if not has_date:
            fields += b"Date: %b\r\n" % proxy.http_date()
        decision = cast("Decision", self.decision)
        if not decision.finding.is_settled:
            fields += self._binding(decision, response)
        if response.body_length == UNTIL_CLOSE and request.minor_version == 1:
            fields += b"Transfer-Encoding: chunked\r\n"
            self._chunks_to_client = True
        elif response.body_length == CHUNKED and request.minor_version == 1:
            self._chunks_to_client = True
        elif response.body_length < 0:  # HTTP/1.0 knows no chunks: the end is the end
            self.closes_client = True
        if request.minor_version == 0:
            response.cuts += [field for field in response.headers if field[0] == b"transfer-encoding"]
        if not request.is_keep_alive or not self.is_request_complete or proxy.is_draining:
            self.closes_client = True
        if response.status == 101:
            return fields
        if self.closes_client:
            fields += b"Connection: close\r\n"
        elif request.minor_version == 0:
            fields += b"Connection: keep-alive\r\n"
        return fields

    def _binding(self, decision: Decision, response: Response) -> bytes:
        now = Now(time.time(), self.first_byte_s)
        binding = bind_response(decision, self.request, response, now)
        fields = b"".join([b"Set-Cookie: %b\r\n" % value for value in binding.set_cookies])
        return fields + b"Cache-Control: private\r\n" if binding.make_private else fields

    def _attempt_failed(self, kind: ErrorKind, detail: str) -> None:
        connection = self.connection
        is_stale = (
            connection is not None
            and connection.is_reused
            and not connection.has_response_bytes
            and kind is ErrorKind.TARGET_CLOSED
        )
        self._drop_connection()
        decision = cast("Decision", self.decision)
        target = cast("TargetState", decision.target)
        if is_stale and self._is_repeatable() and not self._tried_fresh:
            # The target closed a connection that had been idle: no failure of the target's.
            self._tried_fresh = True
            self._connect(cast("TargetPool", self._pool))
            return
        self.attempts.append(Attempt(target.id, kind, detail))
        target.errors += 1
        if not is_stale:
            target.failures += 1
            self.client.proxy.on_target_error(decision.group, target, kind)
        self._leave_slot()
        self._retry_elsewhere(kind, detail)

    def _retry_elsewhere(self, kind: ErrorKind, detail: str) -> None:
        decision = cast("Decision", self.decision)
        proxy = self.client.proxy
        may_repeat = may_retry(
            kind,
            self.request.method,
            sent_anything=self.has_sent,
            has_body=self.request.body_length != 0,
            attempts=len(self.attempts),
            max_attempts=decision.group.limits.max_attempts,
        )
        group = proxy.snapshot.groups.get(decision.group.name)
        if may_repeat and group is not None:
            tried = {attempt.target_id for attempt in self.attempts}
            now = Now(time.time(), time.monotonic())
            again = reroute(decision, group, self.request, tried, now, proxy.rng)
            if again is not None:
                self.decision = again
                self._tried_fresh = False
                self._dispatch(again)
                return
        self._fail(kind, detail)

    def _fail(self, kind: ErrorKind, detail: str) -> None:
        self.error = kind
        self.detail = detail
        if self.has_response:
            self.closes_client = True
            self._finish(is_cut=True)
            return
        self.status = kind.status
        if not self.request.is_keep_alive or not self.is_request_complete or self.client.proxy.is_draining:
            self.closes_client = True
        page = error_response(
            kind, detail, self.request, self.request_id, self.client.proxy, is_closing=self.closes_client
        )
        self.client.transport.write(page)
        self._finish()

    def _finish(self, *, is_cut: bool = False) -> None:
        proxy = self.client.proxy
        was_tunnel = self.phase == TUNNEL
        if self.phase == QUEUED and self.decision is not None and self.decision.target is not None:
            self._leave_queue_unserved(self.decision.target)
        self.phase = DONE
        now_s = self.ended_s = time.monotonic()
        connection = self.connection
        pool = self._pool
        if connection is not None and pool is not None:
            if self._is_target_paused and not connection.is_closed:
                connection.transport.resume_reading()
            if self.error is None and self.is_request_complete:
                self.connection = None
                pool.give_back(connection, self._limits.max_idle_connections, now_s)
                if (target := pool.state).failures:
                    target.failures = 0
            else:
                self._drop_connection()
        elif self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        self._leave_slot()
        if self.decision is not None:
            finish(self.decision, Now(self.started.wall_s, now_s))
        proxy.record(self)
        if not was_tunnel:
            self.client.on_exchange_end(self, is_cut=is_cut)

    def _leave_queue_unserved(self, target: TargetState) -> None:
        waiting = self.client.proxy.pool(target).waiting
        if self in waiting:
            waiting.remove(self)
            target.queued -= 1

    def _leave_slot(self) -> None:
        pool = self._pool
        if pool is not None:
            self._pool = None
            following = pool.leave(self)
            if following is not None:
                following.leave_queue()

    def _drop_connection(self) -> None:
        if self.connection is not None:
            self.connection.abort()
            self.connection = None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
