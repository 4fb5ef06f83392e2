"""The chunked transfer coding, read strictly and written plainly.

limpet never passes a target's or client's chunk framing on: it takes the data out and frames
it anew, so that chunk extensions, leading zeros and odd line ends cannot be understood in two
ways. Source: RFC 9112 section 7.1.
"""

from __future__ import annotations

import re

from limpet.errors import ErrorKind, ProtocolError
from limpet.proxy.http1.fields import NOT_IN_TRAILERS

#: Chunk size and extensions; extensions are read over (RFC 9112 section 7.1.1).
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_MAX_LINE_BYTES = 1024
_MAX_TRAILER_BYTES = 16384
#: Extension bytes allowed for each body byte and to begin with, against bodies made of extensions.
_MAX_EXTENSION_BYTES = 16384

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedReader:
    """Takes chunked bytes as they come and gives the body's bytes.

    Args:
        kind: the error for malformed input: BAD_REQUEST or BAD_RESPONSE.

    Attributes:
        is_done: the whole body and its trailer section have been read.
        trailers: field lines after the body, each with its CRLF; forbidden ones left out.
        rest: bytes after the end of the message.
    """

    __slots__ = (
        "_buffer",
        "_extension_bytes",
        "_kind",
        "_left",
        "_state",
        "_trailer_bytes",
        "rest",
        "trailers",
    )

    def __init__(self, kind: ErrorKind) -> None:
        self._kind = kind
        self._state = _SIZE
        self._left = 0
        self._buffer = b""
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self.trailers = b""
        self.rest = b""

    @property
    def is_done(self) -> bool:
        """Whether the message has ended."""
        return self._state == _DONE

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes that `data` completes; b"" if none.

        Raises:
            ProtocolError: the framing is malformed.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        body: list[bytes] = []
        position = 0
        while self._state != _DONE:
            if self._state == _DATA:
                following = self._take_data(data, position, body)
            elif self._state == _DATA_END:
                following = self._take_data_end(data, position)
            else:
                following = self._take_line(data, position)
            if following is None:  # more bytes are needed
                break
            position = following
        if self._state == _DONE:
            self.rest = data[position:]
        elif self._state != _DATA:
            self._buffer = data[position:]
        return body[0] if len(body) == 1 else b"".join(body)

    def _take_data(self, data: bytes, position: int, body: list[bytes]) -> int | None:
        piece = data[position : position + self._left]
        if piece:
            body.append(piece)
        self._left -= len(piece)
        if self._left:
            return None
        self._state = _DATA_END
        return position + len(piece)

    def _take_data_end(self, data: bytes, position: int) -> int | None:
        end = data[position : position + 2]
        if not b"\r\n".startswith(end):
            raise ProtocolError(self._kind, "chunk data does not end with CRLF")
        if len(end) < 2:
            return None
        self._state = _SIZE
        return position + 2

    def _take_line(self, data: bytes, position: int) -> int | None:
        line = self._line(data, position)
        if line is None:
            return None
        if self._state == _SIZE:
            self._read_size(line)
        else:
            self._read_trailer(line)
        return position + len(line) + 2

    def _line(self, data: bytes, position: int) -> bytes | None:
        end = data.find(b"\n", position, position + _MAX_LINE_BYTES)
        if end < 0:
            if len(data) - position >= _MAX_LINE_BYTES:
                raise ProtocolError(self._kind, "a line of the chunked coding is too long")
            return None
        if data[end - 1 : end] != b"\r" or end == position:
            raise ProtocolError(self._kind, "a bare LF in the chunked coding")
        return data[position : end - 1]

    def _read_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(self._kind, "a malformed chunk size")
        self._extension_bytes += len(line) - match.end(1)
        if self._extension_bytes > _MAX_EXTENSION_BYTES:
            raise ProtocolError(self._kind, "too many chunk extensions")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS

    def _read_trailer(self, line: bytes) -> None:
        if not line:
            self._state = _DONE
            return
        self._trailer_bytes += len(line) + 2
        match = _FIELD_LINE.fullmatch(line)
        if match is None or self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise ProtocolError(self._kind, "a malformed trailer section")
        if match[1].lower().replace(b"_", b"-") not in NOT_IN_TRAILERS:
            self.trailers += line + b"\r\n"


def chunk(data: bytes) -> bytes:
    """Frame non-empty data as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: bytes) -> bytes:
    """Frame the end of a body, with whole field lines as its trailer section."""
    return b"0\r\n%b\r\n" % trailers
