"""One connection to a target: sends one request at a time and reads its response.

Theory of operation. A connection is *busy* while `exchange` is set and *idle* in its pool
otherwise. It reads response heads and body framing and hands the parts to the exchange, which
knows the client. Bytes that no request asked for end the connection: what one response left
over can never be read as the beginning of another.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.http1.chunked import ChunkedReader
from limpet.proxy.http1.response import CHUNKED, UNTIL_CLOSE

if TYPE_CHECKING:
    from limpet.core.route import Decision
    from limpet.core.session_state import SessionState
    from limpet.proxy.exchange import Exchange
    from limpet.proxy.http1.response import Response
    from limpet.proxy.pool import TargetPool
    from limpet.proxy.tunnel import Tunnel

#: The phase of a finished exchange; `exchange.py` imports this module.
DONE = 5
#: Interim (1xx) responses to one request; an endless row of them must not keep a client waiting.
_MAX_INTERIM = 16


class TargetConnection(asyncio.Protocol):
    """A connection of a target's pool."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_interim",
        "_left",
        "_response",
        "exchange",
        "has_response_bytes",
        "idle_since_s",
        "is_closed",
        "is_reused",
        "pool",
        "transport",
        "tunnel",
    )

    def __init__(self, pool: TargetPool) -> None:
        # per connection
        self.pool = pool
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # set once connected
        self.is_closed = False
        self.is_reused = False
        self.idle_since_s = 0.0
        self.tunnel: Tunnel | None = None
        # per request
        self.exchange: Exchange | None = None
        self.has_response_bytes = False
        self._response: Response | None = None
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._buffer = b""
        self._interim = 0

    def start(self, exchange: Exchange) -> None:
        """Begin with a new request; the exchange writes it."""
        self.exchange = exchange
        self.has_response_bytes = False
        self._response = None
        self._interim = 0

    def abort(self) -> None:
        """Close at once and forget the request; the exchange is not told."""
        self.exchange = None
        self.is_closed = True
        self.transport.abort()

    # called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read what the target sent."""
        if self.tunnel is not None:
            self.tunnel.from_target(data)
            return
        exchange = self.exchange
        if exchange is None:
            self.pool.forget(self)
            self.abort()  # nobody asked
            return
        if not self.has_response_bytes and self.relay_known(exchange, data):
            return
        self.has_response_bytes = True
        try:
            if self._response is not None:
                self._read_body(exchange, data)
            else:
                self._read_head(exchange, self._buffer + data if self._buffer else data)
        except ProtocolError as error:
            exchange.on_target_failure(error.kind, error.detail)

    def eof_received(self) -> bool:
        """Note the target's end of stream; in a tunnel the other direction may go on."""
        if self.tunnel is not None:
            self.tunnel.target_finished()
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for this connection."""
        self.is_closed = True
        if self.tunnel is not None:
            self.tunnel.target_lost()
        elif self.exchange is None:
            self.pool.forget(self)
        elif self._response is not None and self._left == UNTIL_CLOSE and exc is None:
            self._complete(self.exchange, b"")
        else:
            self.exchange.on_target_failure(ErrorKind.TARGET_CLOSED, _why_lost(self, exc))

    def pause_writing(self) -> None:
        """Stop reading from the client until the target has read what it was sent."""
        if self.tunnel is not None:
            self.tunnel.pause_client()
        elif self.exchange is not None:
            self.exchange.pause_client()

    def resume_writing(self) -> None:
        """Go on reading from the client."""
        if self.tunnel is not None:
            self.tunnel.resume_client()
        elif self.exchange is not None:
            self.exchange.resume_client()

    # the fast lane

    def relay_known(self, exchange: Exchange, data: bytes) -> bool:
        """Relay a response that came in one piece under a head that came before.

        The same as the long way takes for a plain response to a settled request of the fast
        lane (`ClientConnection.send_known`). Anything else goes the long way.

        Returns:
            Whether the response was relayed.
        """
        end = data.find(b"\r\n\r\n") + 4
        pool = self.pool
        response = pool.reader.known.get(data[:end])
        fields = exchange.request.fields
        decision = exchange.decision
        if (
            response is None
            or not response.is_plain
            or response.body_length != len(data) - end
            or exchange.request.method != b"GET"
            or not fields.is_keep_alive
            or not fields.minor_version
            or fields.body_length
            or decision is None
            or (exchange.verdict is not None and exchange.verdict.changes_response)
            or not decision.finding.is_settled
            or decision.finding.visit is not None
            or (response.state is not None and _is_news(decision, response.state))
            or pool.waiting
            or exchange.client.proxy.is_draining
            or len(pool.idle) >= decision.group.limits.max_idle_connections
        ):
            return False
        client = exchange.client
        exchange.connection = None  # first: a client that is slow must not pause what goes to the pool
        client.transport.write(
            b"%bX-Request-Id: %b\r\n%b\r\n%b"
            % (response.edited, exchange.request_id, client.response_fields, data[end:])
        )
        exchange.first_byte_s = exchange.ended_s = self.idle_since_s = time.monotonic()
        exchange.has_response = True
        exchange.status = response.status
        exchange.bytes_out = response.body_length
        exchange.phase = DONE
        exchange.pool = self.exchange = None
        target = pool.state
        target.end()
        target.failures = 0
        session = exchange.session
        if session is not None:
            session.in_flight -= 1
        pool.idle.append(self)
        client.end_known(exchange)
        client.proxy.record(exchange)
        return True

    # reading

    def _read_head(self, exchange: Exchange, data: bytes) -> None:
        response = self.pool.reader.read(data, exchange.request.method)
        if response is None:
            self._buffer = data
            return
        self._buffer = b""
        rest = data[len(response.head) :]
        if response.status >= 200:
            self._begin_body(exchange, response, rest)
        elif response.status == 101:
            exchange.on_switch(response, rest)
        else:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise ProtocolError(ErrorKind.BAD_RESPONSE, "too many interim responses from the target")
            exchange.on_interim(response)
            if rest:
                self._read_head(exchange, rest)

    def _begin_body(self, exchange: Exchange, response: Response, rest: bytes) -> None:
        length = response.body_length
        if length >= 0 and len(rest) >= length:
            # The common case, whole in one read: one write to the client.
            if not response.is_keep_alive:
                self.is_closed = True
            if len(rest) > length:
                self.is_closed = True  # unasked bytes: this connection is used no more
                rest = rest[:length]
            exchange.on_response(response, rest, is_last=True)
            return
        self._response = response
        self._left = length
        if length == CHUNKED:
            self._chunks = ChunkedReader(ErrorKind.BAD_RESPONSE)
            exchange.on_response(response, b"", is_last=False)
            if rest:
                self._read_body(exchange, rest)
        else:
            if length > 0:
                self._left -= len(rest)
            exchange.on_response(response, rest, is_last=False)

    def _read_body(self, exchange: Exchange, data: bytes) -> None:
        if self._chunks is not None:
            body = self._chunks.feed(data)
            if self._chunks.is_done:
                self._complete(exchange, body)
            elif body:
                exchange.on_body(body)
        elif self._left == UNTIL_CLOSE:
            exchange.on_body(data)
        elif len(data) < self._left:
            self._left -= len(data)
            exchange.on_body(data)
        else:
            self._complete(exchange, data)

    def _complete(self, exchange: Exchange, data: bytes) -> None:
        # The exchange gives the connection back to its pool, or closes it if `is_closed`.
        response = cast("Response", self._response)
        trailers = b""
        if not response.is_keep_alive or self._left == UNTIL_CLOSE:
            self.is_closed = True
        if self._chunks is not None:
            trailers = self._chunks.trailers
            if self._chunks.rest:
                self.is_closed = True
            self._chunks = None
        elif 0 <= self._left < len(data):
            self.is_closed = True
            data = data[: self._left]
        self._response = None
        exchange.on_last_body(data, trailers)


def _is_news(decision: Decision, state: SessionState) -> bool:
    session = decision.session
    return session is None or state != session.state


def _why_lost(connection: TargetConnection, exc: Exception | None) -> str:
    when = "in the middle of its response" if connection.has_response_bytes else "without a response"
    return f"the target closed the connection {when}" + (f" ({exc})" if exc else "")
