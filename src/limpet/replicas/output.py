"""Passes on what replicas print, line by line, each with its replica's name in front."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TextIO

#: A longer line is passed on in pieces.
_MAX_LINE_BYTES = 65536
#: ANSI colours, one replica after the other: cyan, yellow, green, magenta, blue, red.
_COLOURS = (36, 33, 32, 35, 34, 31)


class Printer:
    """Writes lines to one stream, `A | ` before each; coloured on a terminal only.

    Args:
        name: of the replica.
        index: of the replica, which chooses the colour.
        stream: where to write.
    """

    def __init__(self, name: str, index: int, stream: TextIO) -> None:
        is_coloured = stream.isatty() and "NO_COLOR" not in os.environ
        colour = _COLOURS[index % len(_COLOURS)]
        self._prefix = f"\x1b[{colour}m{name} |\x1b[0m " if is_coloured else f"{name} | "
        self._stream = stream

    def write(self, text: str) -> None:
        r"""Write one or several lines, separated by \n."""
        lines = "".join([f"{self._prefix}{line}\n" for line in text.split("\n")])
        encoding = self._stream.encoding or "utf-8"
        # Whatever happens to our output, the app's must be read on: a full pipe would stop it.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(lines.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()

    async def copy(self, pipe: int) -> None:
        """Write what comes out of a pipe, until its last writer is gone; closes the pipe.

        Args:
            pipe: file descriptor of the end for reading.
        """
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0)
        )
        rest = b""
        try:
            while chunk := await reader.read(_MAX_LINE_BYTES):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if len(rest) > _MAX_LINE_BYTES:
                    whole, newline, rest = whole + newline + rest, b"\n", b""
                if newline:
                    self._write_bytes(whole)
            if rest:
                self._write_bytes(rest)
        finally:
            transport.close()

    def _write_bytes(self, lines: bytes) -> None:
        self.write(lines.replace(b"\r\n", b"\n").removesuffix(b"\r").decode("utf-8", "replace"))
