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
from limpet.core.logouts import may_tell, suspect
from limpet.core.request import ResponseHead
from limpet.core.retry import SAFE_METHODS, may_retry
from limpet.core.route import bind_response, finish, has_news, reroute, route, take_state
from limpet.core.rules.group_pin import bind_group, leave_group
from limpet.core.rules.rule import Surroundings
from limpet.core.session_state import NO_FLOOR_LINE, moved_line
from limpet.core.stickiness.contract import StickyStatus
from limpet.errors import ErrorKind
from limpet.proxy.error_page import error_response
from limpet.proxy.http1.chunked import chunk, last_chunk
from limpet.proxy.http1.fields import cut_fields
from limpet.proxy.http1.request import edit_request
from limpet.proxy.http1.response import UNTIL_CLOSE
from limpet.proxy.own_response import own_response
from limpet.proxy.redirect import redirected
from limpet.proxy.tls.connected import why_not_connected
from limpet.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from limpet.core.active_sessions import ActiveSession
    from limpet.core.model import Listener, Snapshot, TargetLimits
    from limpet.core.route import Decision
    from limpet.core.rules.field_edits import FieldEdits
    from limpet.core.rules.verdict import Reply, Verdict
    from limpet.core.target import TargetState
    from limpet.core.trace_context import Trace
    from limpet.proxy.client_protocol import ClientConnection
    from limpet.proxy.http1.request import Request
    from limpet.proxy.http1.response import Response
    from limpet.proxy.pool import TargetPool
    from limpet.proxy.target_protocol import TargetConnection

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
        wall_s: wall clock; when the head was complete.
        start_s: monotonic; the same moment.
        sent_s: monotonic; when the request was last written to a target; 0 if never.
        first_byte_s: monotonic; when the response's head came; 0 if never.
        ended_s: monotonic; when the last byte was written.
        verdict: of the listener's rules; None if it has none.
        status: sent to the client; 0 if nothing was.
        error: why limpet itself ended the request; None if a response was relayed whole.
        session: whose request it is, as far as that is known.
        logout: why somebody who was in seems to be out; "" for the usual case.
        attempts: targets that were tried in vain.
        bytes_in: body bytes received from the client.
        bytes_out: body bytes sent to the client.
    """

    # Defaults stand in the class: most requests never touch most of these.
    sent_s = first_byte_s = ended_s = 0.0
    status = 0
    error: ErrorKind | None = None
    detail = ""
    verdict: Verdict | None = None
    decision: Decision | None = None
    session: ActiveSession | None = None
    logout = ""
    attempts: Sequence[Attempt] = ()
    bytes_in = bytes_out = 0
    phase = QUEUED
    is_request_complete = False
    has_sent = False
    has_response = False
    trace: Trace | None = None
    closes_client = False
    connection: TargetConnection | None = None
    _connecting: asyncio.Task[None] | None = None
    pool: TargetPool | None = None
    _pending_body: Sequence[bytes] = ()
    _tried_fresh = False
    _is_target_paused = False
    _chunks_to_client = False

    def __init__(self, client: ClientConnection, request: Request, request_id: bytes) -> None:
        self.client = client
        self.request = request
        self.request_id = request_id
        self.wall_s = time.time()
        self.start_s = time.monotonic()

    # the way to the target

    def start(self) -> None:
        """Route the request and set it on its way."""
        client = self.client
        proxy = client.proxy
        if client.listener.redirect is not None and not self.request.is_https:
            self._reply(redirected(client.listener.redirect, self.request), None)
            return
        snapshot = proxy.snapshot
        listener = client.listener
        name = listener.group
        if snapshot.rules or listener.has_rules:
            decided = self._obey_rules(snapshot, listener)
            if decided is None:
                return
            name = decided
        group = snapshot.groups.get(name)
        if group is None:  # the connection is older than the configuration
            self.closes_client = True
            self._fail(ErrorKind.NO_TARGET, f"there is no target group {name} any more")
            return
        decision = route(group, self.request, Now(self.wall_s, self.start_s), proxy.rng)
        self.decision = self.request.fields.decision = decision
        session = self.session = decision.session
        if session is not None:
            session.begin()
        self._dispatch(decision)

    def _obey_rules(self, snapshot: Snapshot, listener: Listener) -> str | None:
        # Returns the target group's name, or None if the request was answered.
        rules = snapshot.rules.get(listener.name)
        if rules is None:
            if listener.has_rules and all(each.name != listener.name for each in snapshot.listeners):
                self.closes_client = True  # what the rules of a listener kept apart stays apart
                self._fail(ErrorKind.NO_TARGET, "the listener is gone")
                return None
            return listener.group
        now = Now(self.wall_s, self.start_s)
        around = Surroundings(snapshot.groups, snapshot.group_pins, now, self.client.proxy.rng)
        verdict = self.verdict = rules.decide(self.request, around)
        if verdict.error is not None:
            self._fail(verdict.error, verdict.detail)
            return None
        if verdict.reply is not None:
            self._reply(verdict.reply, verdict.response_edits)
            return None
        return verdict.group

    def refuse(self, kind: ErrorKind, detail: str) -> None:
        """End a request that must not reach any target."""
        self._fail(kind, detail)

    def leave_queue(self) -> None:
        """Go on, now that the target has a slot; the pool has taken this out of its queue."""
        decision = cast("Decision", self.decision)
        target = cast("TargetState", decision.target)
        target.queued -= 1
        if target.takes_sticky:
            self._take_slot(target)
        else:
            self._retry_elsewhere(ErrorKind.NO_TARGET, "the target left while the request was queued")

    def _dispatch(self, decision: Decision) -> None:
        target = decision.target
        if target is None:
            self._fail(decision.error or ErrorKind.NO_TARGET, decision.reason)
            return
        target.requests += 1
        limits = decision.group.limits
        if not limits.max_in_flight or target.load < limits.max_in_flight:
            self._take_slot(target)
        else:
            self._queue(target, limits)

    def _queue(self, target: TargetState, limits: TargetLimits) -> None:
        pool = self.client.proxy.pool(target)
        if len(pool.waiting) >= limits.max_queued:
            self._fail(ErrorKind.QUEUE_FULL, f"{target.id} is full and so is its queue")
            return
        self.phase = QUEUED
        pool.waiting.append(self)
        target.queued += 1
        if target.is_shared:
            pool.watch()
        self.client.deadline_s = time.monotonic() + limits.queue_timeout_s

    def _take_slot(self, target: TargetState) -> None:
        pool = self.pool = self.client.proxy.pools.get(target) or self.client.proxy.pool(target)
        target.begin()
        if pool.idle:
            connection = pool.take(self._is_repeatable(), self.start_s)
            if connection is not None:
                self._send(connection)
                return
        self._connect(pool)

    def _connect(self, pool: TargetPool) -> None:
        self.phase = CONNECTING
        self.client.deadline_s = time.monotonic() + self._limits.connect_timeout_s
        self._connecting = self.client.proxy.loop.create_task(self._await_connection(pool))

    async def _await_connection(self, pool: TargetPool) -> None:
        try:
            connection = await pool.connect(cast("Decision", self.decision).group.tls)
        except OSError as error:
            self._connecting = None
            self._attempt_failed(ErrorKind.CONNECT_FAILED, why_not_connected(error))
        else:
            self._connecting = None
            if connection.is_closed:  # already: nothing would tell of it any more
                self._attempt_failed(ErrorKind.TARGET_CLOSED, "the target closed the connection at once")
            else:
                self._send(connection)

    def _send(self, connection: TargetConnection) -> None:
        client = self.client
        request = self.request
        decision = self.decision
        assert decision is not None  # noqa: S101  # routed before it is sent
        self.connection = connection
        connection.start(self)
        added = client.added_fields(request, self.request_id, connection)
        added += _session_fields(decision)
        if self.trace is not None:
            added += b"traceparent: %b\r\n" % self.trace.header
        head = edit_request(request, decision.group.own_cookies, added)
        if self.verdict is not None and self.verdict.request_edits is not None:
            head = self.verdict.request_edits.edit_head(head[:-2]) + b"\r\n"
        if self._pending_body:
            head = b"".join([head, *self._pending_body])
            self._pending_body = ()
        self.has_sent = True
        self.phase = AWAITING
        now_s = self.sent_s = time.monotonic()
        if self.is_request_complete:
            client.deadline_s = now_s + decision.group.limits.response_timeout_s
        else:
            waits_for_target = request.fields.expects_continue and not self.bytes_in
            limits = decision.group.limits
            timeout_s = limits.response_timeout_s if waits_for_target else client.limits.body_timeout_s
            client.deadline_s = now_s + timeout_s
        if client.is_paused:  # even if the body is complete: to see it if the client goes away
            client.resume()
        connection.transport.write(head)

    # called by the client's connection

    def on_client_body(self, data: bytes) -> None:
        """Pass a part of the request's body on; `data` is not empty."""
        self.bytes_in += len(data)
        if self.request.fields.body_length < 0:
            data = chunk(data)
        self._to_target(data)

    def on_client_body_end(self, trailers: bytes) -> None:
        """Note that the request is complete."""
        self.is_request_complete = True
        if self.request.fields.body_length < 0:
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
            self._attempt_failed(
                ErrorKind.CONNECT_TIMEOUT, "the target did not accept the connection in time"
            )
        elif self.phase == AWAITING and self._waits_for_client():
            self._fail(ErrorKind.REQUEST_TIMEOUT, "the request body did not come in time")
        elif self.phase == AWAITING:
            self._attempt_failed(ErrorKind.RESPONSE_TIMEOUT, "the target did not answer in time")
        elif self.phase == STREAMING and self._is_target_paused:
            self._fail(ErrorKind.CLIENT_CLOSED, "the client did not read the response in time")
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
        if self.request.fields.minor_version == 1:
            self.client.transport.write(response.edited + b"\r\n")

    def on_response(self, response: Response, body: bytes, *, is_last: bool) -> None:
        """Relay a final response's head, with the part of the body that came with it."""
        now_s = self.first_byte_s = time.monotonic()
        self.status = response.status
        self.has_response = True
        self.phase = STREAMING
        self.bytes_out += len(body)
        added = self._fields_for_client(response)
        if body and self._chunks_to_client:
            body = chunk(body)
        if not is_last:
            self.client.deadline_s = now_s + self._limits.idle_timeout_s
        edited = response.edited if self.request.fields.minor_version == 1 else _for_old_client(response)
        if self.verdict is not None and self.verdict.response_edits is not None:
            edited = self.verdict.response_edits.edit_head(edited)
        self.client.transport.write(b"%b%b\r\n%b" % (edited, added, body))
        if is_last:
            self._finish()

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
        if not self.request.fields.upgrade:
            self.on_target_failure(ErrorKind.BAD_RESPONSE, "the target switched protocols unasked")
            return
        connection = cast("TargetConnection", self.connection)
        self.first_byte_s = time.monotonic()
        self.status = response.status
        self.has_response = True
        self.closes_client = True
        fields = self._fields_for_client(response)
        switch = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % (response.upgrade or self.request.fields.upgrade)
        self.phase = TUNNEL
        tunnel = connection.tunnel = Tunnel(self, connection)
        edited = response.edited
        if self.verdict is not None and self.verdict.response_edits is not None:
            edited = self.verdict.response_edits.edit_head(edited)
        self.client.transport.write(b"%b%b%b\r\n%b" % (edited, fields, switch, rest))
        if self.session is not None:
            self.session.tunnels += 1
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

    def _waits_for_client(self) -> bool:
        if self.is_request_complete or self.client.is_paused:
            return False
        return self.bytes_in > 0 or not self.request.fields.expects_continue

    def _is_repeatable(self) -> bool:
        return self.request.method in SAFE_METHODS and self.request.fields.body_length == 0

    def _to_target(self, data: bytes) -> None:
        if self.phase == DONE:
            return
        if self.connection is None:
            self._pending_body = (*self._pending_body, data)
            self.client.pause()
            return
        if self.phase == AWAITING and not self.client.is_paused:
            self.client.deadline_s = time.monotonic() + self.client.limits.body_timeout_s
        if not self.connection.is_closed:
            self.connection.transport.write(data)

    def _fields_for_client(self, response: Response) -> bytes:
        # Everything that limpet adds to a final response; also decides how the body is framed.
        fields = b"" if response.has_request_id else b"X-Request-Id: %b\r\n" % self.request_id
        if not response.has_date:
            fields += b"Date: %b\r\n" % self.client.proxy.http_date()
        decision = self.decision
        assert decision is not None  # noqa: S101  # routed before it is answered
        verdict = self.verdict
        if may_tell(self.request, response):
            self._learn(decision, response)
        if (
            not decision.finding.is_settled
            or (verdict is not None and verdict.choice is not None)
            or has_news(decision)
        ):
            fields += self._binding(decision, response)
        fields += self.client.response_fields
        request = self.request.fields
        if response.body_length < 0:
            if request.minor_version == 0:
                self.closes_client = True  # HTTP/1.0 knows no chunks: the end is the end
            else:
                self._chunks_to_client = True
                if response.body_length == UNTIL_CLOSE:
                    fields += b"Transfer-Encoding: chunked\r\n"
        if not request.is_keep_alive or not self.is_request_complete or self.client.proxy.is_draining:
            self.closes_client = True
        if response.status == 101:
            return fields
        if self.closes_client:
            return fields + b"Connection: close\r\n"
        return fields if request.minor_version else fields + b"Connection: keep-alive\r\n"

    def _learn(self, decision: Decision, response: Response) -> None:
        session = decision.session
        if session is not None:
            self.logout = suspect(session, self.request, response, decision.status, self.wall_s)
        if response.state is not None:
            take_state(decision, response.state, self.start_s, self.first_byte_s)

    def _binding(self, decision: Decision, response: Response) -> bytes:
        now = Now(time.time(), self.first_byte_s)
        head: ResponseHead = response
        verdict = self.verdict
        bindings = []
        if verdict is not None and verdict.response_edits is not None:
            # A rule may make a response cacheable, and then it must carry no ticket.
            edited = verdict.response_edits.edit_fields(response.headers)
            head = ResponseHead(response.status, edited, response.state)
        if verdict is not None and verdict.choice is not None:
            bindings.append(bind_group(verdict.choice, self.request, head, now))
        bindings.append(bind_response(decision, self.request, head, now))
        fields = b"".join(
            [b"Set-Cookie: %b\r\n" % value for binding in bindings for value in binding.set_cookies]
        )
        is_private = any(binding.make_private for binding in bindings)
        return fields + b"Cache-Control: private\r\n" if is_private else fields

    def _attempt_failed(self, kind: ErrorKind, detail: str) -> None:
        connection = self.connection
        has_begun = connection is not None and connection.has_response_bytes
        is_reused = connection is not None and connection.is_reused
        is_stale = is_reused and not has_begun and kind is ErrorKind.TARGET_CLOSED
        self._drop_connection()
        decision = cast("Decision", self.decision)
        target = cast("TargetState", decision.target)
        if is_stale and self._is_repeatable() and not self._tried_fresh:
            # The target closed a connection that had been idle: no failure of the target's.
            self._tried_fresh = True
            self._connect(cast("TargetPool", self.pool))
            return
        self.attempts = (*self.attempts, Attempt(target.id, kind, detail))
        target.errors += 1
        if not is_stale:
            target.failures += 1
            self.client.proxy.on_target_error(decision.group, target, kind)
        self._leave_slot(cast("TargetPool", self.pool))
        if has_begun:
            self._fail(kind, detail)
        else:
            self._retry_elsewhere(kind, detail)

    def _retry_elsewhere(self, kind: ErrorKind, detail: str) -> None:
        decision = cast("Decision", self.decision)
        proxy = self.client.proxy
        may_repeat = may_retry(
            kind,
            self.request.method,
            sent_anything=self.has_sent,
            has_body=self.request.fields.body_length != 0,
            attempts=len(self.attempts),
            max_attempts=decision.group.limits.max_attempts,
        )
        group = proxy.snapshot.groups.get(decision.group.name)
        if may_repeat and group is not None:
            tried = {attempt.target_id for attempt in self.attempts}
            if decision.target is not None:  # in whose queue this stood, if it was not tried
                tried.add(decision.target.id)
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
        self._see_whether_to_close()
        proxy = self.client.proxy
        page = error_response(
            kind, detail, self.request, self.request_id, proxy, is_closing=self.closes_client
        )
        self._answer(page)

    def _reply(self, reply: Reply, edits: FieldEdits | None) -> None:
        self.status = reply.status
        self._see_whether_to_close()
        proxy = self.client.proxy
        self._answer(
            own_response(reply, edits, self.request, self.request_id, proxy, is_closing=self.closes_client)
        )

    def _see_whether_to_close(self) -> None:
        is_whole = self.is_request_complete and self.request.fields.is_keep_alive
        if not is_whole or self.client.proxy.is_draining:
            self.closes_client = True

    def _answer(self, message: bytes) -> None:
        self.bytes_out = len(message) - message.index(b"\r\n\r\n") - 4
        self.client.transport.write(message)
        self._finish()

    def _finish(self, *, is_cut: bool = False) -> None:
        client = self.client
        now_s = self.ended_s = time.monotonic()
        was_tunnel = self.phase == TUNNEL
        decision = self.decision
        if self.phase == QUEUED:
            self._leave_queue_unserved()
        self.phase = DONE
        connection = self.connection
        pool = self.pool
        if pool is not None:
            if connection is not None and self.error is None and self.is_request_complete:
                self.connection = None
                if self._is_target_paused and not connection.is_closed:
                    connection.transport.resume_reading()
                assert decision is not None  # noqa: S101  # routed before it was connected
                pool.give_back(connection, decision.group.limits.max_idle_connections, now_s)
                if pool.state.failures:
                    pool.state.failures = 0
            else:
                self._drop_connection()
            self._leave_slot(pool)
        self._leave_session(was_tunnel=was_tunnel)
        if decision is not None and decision.finding.visit is not None:
            finish(decision, Now(self.wall_s, now_s))
        if self.verdict is not None and self.verdict.choice is not None:
            leave_group(self.verdict.choice, Now(self.wall_s, now_s))
        self._pending_body = ()  # of a failed request; what is remembered must be small
        if was_tunnel:
            client.on_tunnel_end()
        else:
            client.on_exchange_end(self, is_cut=is_cut)
        client.proxy.record(self)

    def _leave_queue_unserved(self) -> None:
        if self.decision is not None and self.decision.target is not None:
            target = self.decision.target
            waiting = self.client.proxy.pool(target).waiting
            if self in waiting:
                waiting.remove(self)
                target.queued -= 1

    def _leave_session(self, *, was_tunnel: bool) -> None:
        session = self.session
        if session is not None:
            session.in_flight -= 1
            if was_tunnel:
                session.tunnels -= 1

    def _leave_slot(self, pool: TargetPool) -> None:
        self.pool = None
        pool.state.end()
        if pool.waiting:
            pool.wake()

    def _drop_connection(self) -> None:
        if self.connection is not None:
            self.connection.abort()
            self.connection = None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None


def _session_fields(decision: Decision) -> bytes:
    # What the session layer is told; a group without stickiness knows no sessions.
    session = decision.session
    if session is not None:
        fields = session.floor_line
    elif decision.finding.status is StickyStatus.OFF:
        return b""
    else:
        fields = NO_FLOOR_LINE
    return fields if decision.moved is None else fields + moved_line(decision.moved)


def _for_old_client(response: Response) -> bytes:
    codings = [field for field in response.headers if field[0] == b"transfer-encoding"]
    return cut_fields(response.edited + b"\r\n", codings)[:-2]
