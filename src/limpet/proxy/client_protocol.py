"""One connection of a client: cuts its bytes into requests and answers them in order.

Theory of operation. A connection serves one request at a time; what a client sends ahead
(pipelining, RFC 9112 section 9.3.2) waits in the buffer. Its phase says how bytes are read:

    PREAMBLE -> HEAD -> BODY -> BUSY -> HEAD ... -> LINGER
                                  +-> TUNNEL

PREAMBLE is a PROXY protocol header. BUSY means that the request is complete and its exchange
goes on. LINGER discards input after a last answer, so that closing does not reset the
connection before the client has read it (RFC 9112 section 9.6). A request that cannot be read
in one way only is answered and is the last one of its connection.

There is one deadline per connection, swept by the server: what it means depends on the phase.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from limpet.core.active_sessions import PRECISION_S
from limpet.core.stickiness.contract import StickyStatus
from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.exchange import AWAITING, Exchange
from limpet.proxy.forwarded import EXTENDED, client_address, forwarded_fields
from limpet.proxy.http1.chunked import ChunkedReader
from limpet.proxy.http1.request import USUAL_LINE, Request, unreadable_request
from limpet.proxy.proxy_protocol import parse_proxy_header
from limpet.proxy.tls.certificate import certificate_fields

if TYPE_CHECKING:
    from limpet.core.active_sessions import ActiveSession
    from limpet.core.model import ClientLimits, Listener
    from limpet.core.route import Decision
    from limpet.core.target import TargetState
    from limpet.proxy.server import Proxy
    from limpet.proxy.target_protocol import TargetConnection
    from limpet.proxy.tunnel import Tunnel

PREAMBLE, HEAD, BODY, BUSY, TUNNEL, LINGER, CLOSED = range(7)

#: Bytes a client may send ahead before it is not read any more.
_MAX_AHEAD_BYTES = 65536
#: How long input is discarded after a last answer.
_LINGER_S = 2.0
_RESET = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """A client's connection to one listener."""

    __slots__ = (
        "_buffer",
        "_certificate",
        "_chunks",
        "_forwarded",
        "_has_ended",
        "_left",
        "_searched",
        "_tunnel",
        "client_ip",
        "deadline_s",
        "exchange",
        "forwarded_host",
        "is_https",
        "is_paused",
        "is_trusted",
        "is_unread",
        "limits",
        "listener",
        "phase",
        "port",
        "proxy",
        "response_fields",
        "transport",
    )

    #: Whether the client speaks HTTP/2; then this is one of its streams.
    is_http2 = False

    def __init__(self, proxy: Proxy, listener: Listener) -> None:
        # per connection
        self.proxy = proxy
        self.listener = listener
        self.limits: ClientLimits = proxy.snapshot.client_limits
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set once connected
        self.client_ip = ""
        self.port = 0
        self.is_trusted = False
        self.is_https = listener.tls is not None
        self.response_fields = b""
        self._certificate = b""
        # A PROXY header is not a part of the encrypted stream.
        self.phase = PREAMBLE if listener.is_proxy_protocol and not self.is_https else HEAD
        self.deadline_s = 0.0
        self.is_paused = False
        self.is_unread = False
        self._has_ended = False
        self.forwarded_host: bytes | None = None
        self._forwarded = b""
        self._tunnel: Tunnel | None = None
        # per request
        self.exchange: Exchange | None = None
        self._buffer = b""
        self._searched = 0
        self._left = 0
        self._chunks: ChunkedReader | None = None

    def enter(self) -> bool:
        """Be counted; False if there are too many connections."""
        return self.proxy.enter(self, self.client_ip)

    def leave(self) -> None:
        """Be forgotten."""
        self.proxy.leave(self)

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn who connected; close at once if there are too many."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        name = transport.get_extra_info("sockname")
        if isinstance(peer, tuple):
            self._set_peer(peer[0], name[1])
        else:  # a Unix socket: whoever may open it is trusted
            self.is_trusted = True
        if self.is_https:
            self._certificate = certificate_fields(transport.get_extra_info("ssl_object"))
            self.response_fields = _hsts(self.listener)
        if not self.enter():
            self._close()
            return
        limits = self.limits
        timeout_s = limits.header_timeout_s if self.phase == PREAMBLE else limits.keep_alive_s
        self.deadline_s = time.monotonic() + timeout_s

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        phase = self.phase
        if phase == HEAD:
            if self._buffer:
                self._continue_head(data)
            elif not self.send_known(data):
                self._read_head(data)
        elif phase == BODY:
            self._read_body(data)
        elif phase == TUNNEL:
            cast("Tunnel", self._tunnel).from_client(data)
        elif phase == BUSY:
            self._buffer += data
            if len(self._buffer) > _MAX_AHEAD_BYTES:
                self.pause()
        elif phase == PREAMBLE:
            self._read_preamble(self._buffer + data)

    def eof_received(self) -> bool:
        """Note that the client sends no more; it may still wait for an answer."""
        if self.phase == TUNNEL:
            cast("Tunnel", self._tunnel).client_finished()
            return True
        if self.phase == BUSY:
            self._has_ended = True
            return True
        return False  # closes; connection_lost ends an exchange whose request is cut short

    def connection_lost(self, exc: Exception | None) -> None:
        """End what goes on."""
        del exc
        self.leave()
        phase = self.phase
        self.phase = CLOSED
        if phase == TUNNEL:
            cast("Tunnel", self._tunnel).client_lost()
        elif self.exchange is not None:
            self.exchange.on_client_lost()

    def pause_writing(self) -> None:
        """Stop reading the response: the client is slow."""
        self.is_unread = True
        if self.phase == TUNNEL:
            cast("Tunnel", self._tunnel).pause_target()
        elif self.exchange is not None:
            self.exchange.pause_target()

    def resume_writing(self) -> None:
        """Go on reading the response, or with the next request."""
        self.is_unread = False
        if self.phase == TUNNEL:
            cast("Tunnel", self._tunnel).resume_target()
        elif self.exchange is not None:
            self.exchange.resume_target()
        elif self.phase == BUSY:
            self._next_request(time.monotonic())

    # called by the exchange

    def pause(self) -> None:
        """Stop reading from the client."""
        if not self.is_paused and self.phase != CLOSED:
            self.is_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading from the client, unless it has sent too much ahead already."""
        if self.is_paused and self.phase != CLOSED and len(self._buffer) <= _MAX_AHEAD_BYTES:
            self.is_paused = False
            self.transport.resume_reading()

    def added_fields(self, request: Request, request_id: bytes, target: TargetConnection) -> bytes:
        """Return the field lines that limpet adds to a request for its target."""
        fields = request.fields
        if fields.host is not self.forwarded_host or fields.forwarded:
            lines = forwarded_fields(request, self.client_ip, self.port, is_trusted=self.is_trusted)
            self._forwarded = lines + self._certificate
            # What the request brought itself must not stay for the next one.
            self.forwarded_host = None if fields.forwarded else fields.host
        if fields.upgrade or fields.request_id or not fields.host:
            return self._forwarded + _rare_fields(request, request_id, target)
        return b"%bX-Request-Id: %b\r\n" % (self._forwarded, request_id)

    def open_tunnel(self, tunnel: Tunnel) -> None:
        """Pass bytes on unread from now on, first those sent ahead."""
        self._tunnel = tunnel
        self.phase = TUNNEL
        ahead = self._buffer
        self._buffer = b""
        self.resume()
        if ahead:
            tunnel.from_client(ahead)
        if self._has_ended:
            tunnel.client_finished()

    def on_exchange_end(self, exchange: Exchange, *, is_cut: bool) -> None:
        """Go on with the next request, or close.

        Args:
            is_cut: the response is incomplete; the client must see that it is.
        """
        self.exchange = None
        if self.phase == CLOSED:
            return
        if is_cut:
            self.reset()
        elif exchange.closes_client:
            if exchange.is_request_complete and not exchange.request.fields.is_keep_alive:
                self._close()
            else:
                self._linger()
        else:
            self._next_request(exchange.ended_s)

    def on_tunnel_end(self) -> None:
        """Close after what was written, and forget the exchange: its target may be forgotten next."""
        self.exchange = None
        if self.phase != CLOSED:
            self._close()

    def on_deadline(self) -> None:
        """Act on a deadline that has passed."""
        if self.phase == CLOSED:
            self.transport.abort()  # it did not even read its last answer
        elif self.exchange is not None:
            self.exchange.on_deadline()
        elif self.phase == HEAD and self._buffer:
            self._refuse(self._buffer, ErrorKind.REQUEST_TIMEOUT, "the request head did not come in time")
        else:
            self._close()

    @property
    def is_fresh(self) -> bool:
        """Whether no request has come yet; the first one may be on its way."""
        return self.phase == HEAD and not self._forwarded

    @property
    def is_sending(self) -> bool:
        """Whether the client has not taken all of what was answered."""
        return self.transport.get_write_buffer_size() > 0

    def close_idle(self) -> None:
        """Close the connection unless a request goes on, or the first is on its way; for draining."""
        if self.exchange is None and self.phase == HEAD and not self._buffer and not self.is_fresh:
            self._close()

    def reset(self) -> None:
        """Close so that the client sees an error, even where the end of the stream is no error."""
        self.phase = CLOSED
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # the fast lane

    def send_known(self, data: bytes) -> bool:
        """Send a request of which everything but its path was decided a short while ago.

        The same as the long way (`_read_head`, `route`, `Exchange`) takes for a GET whose fields
        came before, whose pin was kept, and whose target has an idle connection, without asking
        again what cannot have changed. Anything else goes the long way.

        Returns:
            Whether the request was sent.
        """
        proxy = self.proxy
        start = data.find(b" HTTP/1.")
        fields = proxy.reader.known.get(data[start:])
        if (
            fields is None
            or fields.decision is None
            or fields.host is not self.forwarded_host
            or proxy.tracer is not None  # each request has a name of its own
        ):
            return False
        if not fields.host:  # the target gets one of its own
            return False
        decision = fields.decision
        finding = decision.finding
        session = decision.session
        target = decision.target
        snapshot = proxy.snapshot
        rules = snapshot.rules.get(self.listener.name) if snapshot.rules else None
        wall_s = time.time()
        if (
            not data.startswith(b"GET /")
            or wall_s >= finding.settled_until_s
            or decision.status is not StickyStatus.BOUND
            or (rules is None and decision.group is not snapshot.groups.get(self.listener.group))
            or (rules is None and self.listener.has_rules)
            or target is None
            or session is None
            or not target.takes_sticky
            or decision.group.limits.max_in_flight
            or not _stays(session, target, decision)
        ):
            return False
        pool = proxy.pools.get(target)
        if pool is None or not pool.idle or len(data) > self.limits.max_head_bytes:
            return False
        line = USUAL_LINE.fullmatch(data, 0, start)
        if line is None:
            return False
        path = data[4:start]
        request = Request(b"GET", path, fields, len(data), self.client_ip)
        request.is_https = self.is_https
        verdict = None
        if rules is not None:
            verdict = rules.plain(request)
            if verdict is None or decision.group is not snapshot.groups.get(verdict.group):
                return False
        if proxy.per_client.is_rated and not proxy.per_client.may_ask(self.client_ip, time.monotonic()):
            return False
        exchange = self.exchange = Exchange(self, request, proxy.next_request_id())
        exchange.verdict = verdict
        now_s = exchange.start_s
        decision.group.policy.charge(target)
        if now_s - session.seen_s > PRECISION_S:
            decision.group.sessions.keep(session, now_s)
        session.begin()
        exchange.session = session
        target.requests += 1
        target.begin()
        connection = pool.idle.pop()
        connection.is_reused = True
        connection.start(exchange)
        exchange.decision = decision
        exchange.is_request_complete = exchange.has_sent = True
        exchange.pool = pool
        exchange.connection = connection
        exchange.phase = AWAITING
        exchange.sent_s = now_s
        self.phase = BUSY
        self.deadline_s = now_s + decision.group.limits.response_timeout_s
        edited = fields.edited(decision.group.own_cookies)
        connection.transport.write(
            b"GET %b%b%bX-Request-Id: %b\r\n%b\r\n"
            % (path, edited, self._forwarded, exchange.request_id, session.floor_line)
        )
        return True

    def end_known(self, exchange: Exchange) -> None:
        """Go on after a response that was relayed in one piece."""
        self.exchange = None
        if self.is_unread or self._buffer or self.is_paused or self._has_ended or self.proxy.is_draining:
            self._next_request(exchange.ended_s)
        else:
            self.phase = HEAD
            self.deadline_s = exchange.ended_s + self.limits.keep_alive_s

    # reading

    def _set_peer(self, client_ip: str, port: int) -> None:
        self.client_ip = client_ip
        self.port = port
        self.is_trusted = self.proxy.is_trusted(client_ip)

    def _read_preamble(self, data: bytes) -> None:
        try:
            header = parse_proxy_header(data)
        except ProtocolError:
            self._close()  # no request was read that could be answered
            return
        if header is None:
            self._buffer = data
            return
        self._buffer = b""
        self.phase = HEAD
        if header.client_ip is not None and self.is_trusted:
            self._set_peer(header.client_ip, header.port)
            if not self.proxy.is_welcome(self, header.client_ip):
                self._close()
                return
        if header.size < len(data):
            self._read_head(data[header.size :])

    def _continue_head(self, data: bytes) -> None:
        # Parsing again from the start for every byte of a slow head would be quadratic: it is
        # parsed when a line that may be the last has come. Any LF LF will do, to refuse it.
        buffer = self._buffer = self._buffer + data
        start = max(self._searched - 3, 0)
        self._searched = len(buffer)
        if buffer.find(b"\n\r\n", start) >= 0 or buffer.find(b"\n\n", start) >= 0:
            self._read_head(buffer)
        elif len(buffer) > self.limits.max_head_bytes:
            self._refuse(buffer, *_too_large(buffer))

    def _read_head(self, data: bytes) -> None:
        try:
            request = self.proxy.reader.read(data, self.client_ip)
        except ProtocolError as error:
            self._refuse(data, error.kind, error.detail)
            return
        if request is None:
            if not self._buffer:  # the first part of a head
                self.deadline_s = time.monotonic() + self.limits.header_timeout_s
                self._searched = len(data)
            self._buffer = data
            self.resume()
            if len(data) > self.limits.max_head_bytes:
                self._refuse(data, *_too_large(data))
            return
        self._buffer = b""
        fields = request.fields
        request.is_https = self.is_https
        if fields.forwarded:
            self._read_forwarded(request)
        request_id = fields.request_id or self.proxy.next_request_id()
        exchange = self.exchange = self._new_exchange(request, request_id)
        if fields.body_length == 0:
            self.phase = BUSY
            if request.size < len(data):
                self._buffer = data[request.size :]
            exchange.is_request_complete = True
            if self._may_ask(exchange):
                exchange.start()
        elif self._may_ask(exchange):
            self._begin_body(exchange, fields.body_length, data[request.size :])

    def _may_ask(self, exchange: Exchange) -> bool:
        per_client = self.proxy.per_client
        if not per_client.is_rated or per_client.may_ask(exchange.request.client_ip, exchange.start_s):
            return True
        exchange.refuse(ErrorKind.RATE_LIMITED, "too many requests from this address")
        return False

    def _new_exchange(self, request: Request, request_id: bytes) -> Exchange:
        exchange = Exchange(self, request, request_id)
        tracer = self.proxy.tracer
        if tracer is not None:
            # The target hears of limpet's span instead of the client's.
            fields = request.fields
            parents = [field for field in fields.headers if field[0] == b"traceparent"]
            if parents and parents[0] not in fields.cuts:  # the same fields may be read again
                fields.cuts += parents
            exchange.trace = tracer.begin(request)
        return exchange

    def _read_forwarded(self, request: Request) -> None:
        fields = request.fields
        if self.is_trusted:
            request.client_ip = client_address(request, self.client_ip, self.proxy.is_trusted)
            fields.cuts += [field for field in fields.forwarded if field[0] in EXTENDED]
            for name, value in fields.forwarded:
                if name == b"x-forwarded-proto":
                    request.is_https = value.lower() == b"https"
        else:
            fields.cuts += fields.forwarded
            fields.forwarded = []

    def _begin_body(self, exchange: Exchange, length: int, rest: bytes) -> None:
        self.phase = BODY
        if 0 < self.limits.max_body_bytes < length:
            exchange.refuse(ErrorKind.BODY_TOO_LARGE, "the request body is larger than allowed")
            return
        self._left = length
        self._chunks = ChunkedReader(ErrorKind.BAD_REQUEST) if length < 0 else None
        if rest:
            self._read_body(rest)  # so that a short body goes out in one write with its head
        if self.phase == BODY and self._has_ended:
            exchange.on_client_lost()  # the rest of the body will never come
            self._close()
        elif self.exchange is exchange:
            exchange.start()

    def _read_body(self, data: bytes) -> None:
        exchange = cast("Exchange", self.exchange)
        if self._chunks is not None:
            self._read_chunks(exchange, self._chunks, data)
        elif len(data) < self._left:
            self._left -= len(data)
            exchange.on_client_body(data)
        else:
            self.phase = BUSY
            self._buffer = data[self._left :]
            exchange.on_client_body(data[: self._left] if self._buffer else data)
            exchange.on_client_body_end(b"")

    def _read_chunks(self, exchange: Exchange, chunks: ChunkedReader, data: bytes) -> None:
        try:
            body = chunks.feed(data)
        except ProtocolError as error:
            exchange.on_bad_body(error.kind, error.detail)
            return
        most = self.limits.max_body_bytes
        if most and exchange.bytes_in + len(body) > most:
            exchange.on_bad_body(ErrorKind.BODY_TOO_LARGE, "the request body is larger than allowed")
            return
        if body:
            exchange.on_client_body(body)
        if chunks.is_done:
            self.phase = BUSY
            self._chunks = None
            self._buffer = chunks.rest
            exchange.on_client_body_end(chunks.trailers)

    def _refuse(self, head: bytes, kind: ErrorKind, detail: str) -> None:
        # What cannot be read gets an answer and an exchange of its own, for the log.
        self.phase = BUSY
        self._buffer = b""
        request = unreadable_request(head)
        request.client_ip = self.client_ip
        exchange = self.exchange = Exchange(self, request, self.proxy.next_request_id())
        exchange.refuse(kind, detail)

    # between requests and at the end

    def _next_request(self, ended_s: float) -> None:
        if self.is_unread:  # or answers would pile up: the transport asks for a pause only once
            self.phase = BUSY
            self.deadline_s = ended_s + self.limits.send_timeout_s
            return
        self.phase = HEAD
        if self.is_paused:
            self.resume()
        if self._buffer:
            # Not at once: a client that sends a thousand requests ahead must not nest them.
            self.phase = BUSY
            self.proxy.loop.call_soon(self._read_ahead)
        elif self._has_ended or self.proxy.is_draining:
            self._close()
        else:
            self.deadline_s = ended_s + self.limits.keep_alive_s

    def _read_ahead(self) -> None:
        if self.phase != BUSY or self.exchange is not None:
            return
        self.phase = HEAD
        data = self._buffer
        self._buffer = b""
        self._read_head(data)
        if self.phase == HEAD and self._has_ended:
            self._close()

    def _close(self) -> None:
        self.phase = CLOSED
        self.deadline_s = time.monotonic() + self.limits.send_timeout_s
        self.transport.close()

    def _linger(self) -> None:
        if self._has_ended or not self.transport.can_write_eof():
            self._close()
            return
        self.phase = LINGER
        self._buffer = b""
        self.resume()
        self.deadline_s = time.monotonic() + _LINGER_S
        self.transport.write_eof()


def _stays(session: ActiveSession, target: TargetState, decision: Decision) -> bool:
    if session.target is not target:
        return False
    is_hot = target.sheds or target.in_flight > target.cap_here
    return not is_hot or not decision.group.relief.is_portable(session)


def _rare_fields(request: Request, request_id: bytes, target: TargetConnection) -> bytes:
    fields = request.fields
    added = b"" if fields.request_id else b"X-Request-Id: %b\r\n" % request_id
    if fields.upgrade:
        added += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % fields.upgrade
    if not fields.host:  # HTTP/1.0 may do without, HTTP/1.1 must not (RFC 9112 section 3.2)
        added += b"Host: %b\r\n" % target.pool.state.target.address.host_header.encode()
    return added


def _hsts(listener: Listener) -> bytes:
    # Source: RFC 6797 section 6.1. If the application says it too, its own comes first and counts.
    if listener.tls is None or not listener.tls.hsts_s:
        return b""
    return b"Strict-Transport-Security: max-age=%d\r\n" % listener.tls.hsts_s


def _too_large(head: bytes) -> tuple[ErrorKind, str]:
    if b"\n" in head:
        return ErrorKind.HEAD_TOO_LARGE, "the request head is too large"
    return ErrorKind.URI_TOO_LONG, "the request line is too long"
