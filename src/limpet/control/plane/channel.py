"""Messages between control and a worker, over a Unix socket that only the two of them hold.

A message is a length of 4 bytes and a pickled value; file descriptors may come along. Pickle is
safe here, and only here: both ends are the same program, and nobody else can write.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

_LENGTH = struct.Struct("!I")
_READ_BYTES = 262144
_MAX_DESCRIPTORS = 64


class Channel:
    """One end.

    Args:
        end: a connected Unix socket; it belongs to the channel.
        on_message: gets each message, and the descriptors that came so far and were not taken yet;
            it takes its own from the front.
        on_end: called once, when the other end is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        on_message: Callable[[Any, deque[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        end.setblocking(False)
        self._loop = loop
        self._end = end
        self._on_message = on_message
        self._on_end = on_end
        self._unsent: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._received = bytearray()
        self._descriptors: deque[int] = deque()
        self._is_open = True
        loop.add_reader(end, self._read)

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Send a message, now or as soon as the other end reads; one to nobody is lost."""
        if not self._is_open:
            return
        data = pickle.dumps(message)
        is_first = not self._unsent
        self._unsent.append((memoryview(_LENGTH.pack(len(data)) + data), descriptors))
        if is_first:
            self._write()

    @property
    def unsent_bytes(self) -> int:
        """What the other end has not read yet, and the system does not hold."""
        return sum(len(data) for data, _ in self._unsent)

    def close(self) -> None:
        """Close this end; what is unsent is lost."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()

    def _write(self) -> None:
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                sent = (
                    socket.send_fds(self._end, [data], descriptors) if descriptors else self._end.send(data)
                )
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
                return
            except OSError:
                self._finish()
                return
            self._unsent.popleft()
            if sent < len(data):
                self._unsent.appendleft((data[sent:], ()))
        self._loop.remove_writer(self._end)

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, _READ_BYTES, _MAX_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        if not data:
            self._finish()
            return
        self._received += data
        while self._is_open and len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            if len(self._received) < _LENGTH.size + length:
                return
            message = bytes(self._received[_LENGTH.size : _LENGTH.size + length])
            del self._received[: _LENGTH.size + length]
            self._on_message(pickle.loads(message), self._descriptors)  # noqa: S301  # see above

    def _finish(self) -> None:
        if self._is_open:
            self.close()
            self._on_end()
