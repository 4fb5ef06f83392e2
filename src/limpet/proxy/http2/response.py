"""HTTP/1.1 responses, as limpet writes them to a client, taken apart again for frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.errors import ErrorKind
from limpet.proxy.http1.chunked import ChunkedReader
from limpet.proxy.http1.response import parse_response

if TYPE_CHECKING:
    from typing import Protocol

    class Sink(Protocol):
        """Gets the parts of a response."""

        def head(self, status: int, fields: list[tuple[bytes, bytes]], *, is_last: bool) -> None:
            """Take the head of a response, final or interim."""
            ...

        def body(self, data: bytes) -> None:
            """Take a part of the body; it is not empty."""
            ...

        def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
            """Note the end of a response whose head was not the last."""
            ...


#: Fields that frame a message in HTTP/1.1 and are forbidden in HTTP/2. Source: RFC 9113 section 8.2.2.
_FRAMING = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class ResponseSplitter:
    """Splits one response.

    Args:
        method: of the request; the body depends on it.

    Attributes:
        is_done: the final response is complete.
    """

    def __init__(self, method: bytes, sink: Sink) -> None:
        self._method = method
        self._sink = sink
        self._buffer = b""
        self._chunks: ChunkedReader | None = None
        self._left = -1  # of a body whose length is known; -1 while the head is not read
        self.is_done = False

    def feed(self, data: bytes) -> None:
        """Take what was written to the client."""
        if self._chunks is None and self._left < 0:
            data = self._read_heads(self._buffer + data)
        if self.is_done or not data:
            return
        if self._chunks is not None:
            self._read_chunks(self._chunks, data)
        elif self._left >= 0:
            self._left -= len(data)
            self._sink.body(data)
            if self._left <= 0:
                self._finish([])

    def _read_heads(self, data: bytes) -> bytes:
        # Returns what follows the final head.
        while data:
            response = parse_response(data, self._method)
            if response is None:
                self._buffer = data
                return b""
            data = data[len(response.head) :]
            self._buffer = b""
            fields = [(name, value) for name, value in response.headers if name not in _FRAMING]
            if response.status < 200:
                self._sink.head(response.status, fields, is_last=False)
                continue
            is_last = response.body_length == 0
            self._sink.head(response.status, fields, is_last=is_last)
            if is_last:
                self.is_done = True
            elif response.body_length < 0:
                self._chunks = ChunkedReader(ErrorKind.BAD_RESPONSE)
            else:
                self._left = response.body_length
            return data
        return b""

    def _read_chunks(self, chunks: ChunkedReader, data: bytes) -> None:
        body = chunks.feed(data)
        if body:
            self._sink.body(body)
        if chunks.is_done:
            lines = [line.partition(b":") for line in chunks.trailers.split(b"\r\n") if line]
            self._finish([(name.lower(), value.strip()) for name, _, value in lines])

    def _finish(self, trailers: list[tuple[bytes, bytes]]) -> None:
        self.is_done = True
        self._sink.end(trailers)
