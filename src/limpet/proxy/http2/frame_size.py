"""Refuses a frame that is too long when it is announced, not when it has arrived.

The library keeps the bytes of a frame until all are there, up to the 16 MiB that a length can
say, and only then looks at its length. Source: RFC 9113 section 4.2 for the limit.
"""

from __future__ import annotations

from limpet.errors import ErrorKind, ProtocolError

#: What a server takes that has not said otherwise.
MAX_FRAME_BYTES = 16384
_HEADER_BYTES = 9
_LENGTH_BYTES = 3


class FrameSizes:
    """Follows the frames of one connection, from the end of its preface.

    Args:
        skip: bytes before the first frame.
    """

    def __init__(self, skip: int) -> None:
        self._left = skip  # of the current frame
        self._length = b""  # the part of the next one's that has arrived

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            ProtocolError: a frame is longer than allowed.
        """
        position = self._left
        while position < len(data):
            missing = _LENGTH_BYTES - len(self._length)
            self._length += data[position : position + missing]
            if len(self._length) < _LENGTH_BYTES:
                self._left = 0
                return
            length = int.from_bytes(self._length, "big")
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(ErrorKind.BAD_REQUEST, "a frame is too long")
            self._length = b""
            position += missing + _HEADER_BYTES - _LENGTH_BYTES + length
        self._left = position - len(data)
