"""Passes on what replicas print, line by line, each with its replica's name in front."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import asyncio

_CHUNK_BYTES = 65536
#: A longer line is passed on in pieces.
_MAX_LINE_BYTES = 65536
#: ANSI colours, one replica after the other: cyan, yellow, green, magenta, blue, red.
_COLOURS = (36, 33, 32, 35, 34, 31)


class Printer:
    """Writes whole lines to one stream, `A | ` before each; coloured on a terminal only.

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

    def line(self, text: str) -> None:
        """Write one line, or several if the text has several."""
        lines = text.splitlines() or [""]
        try:
            self._stream.write("".join([f"{self._prefix}{line}\n" for line in lines]))
            self._stream.flush()
        except OSError as error:  # nobody reads our output any more; the app still has its users
            if self._stream is not sys.stderr:
                sys.stderr.write(f"limpet: the output of replicas cannot be written: {error}\n")

    async def copy(self, source: asyncio.StreamReader) -> None:
        """Write everything that comes from a process until it closes its end."""
        rest = b""
        while chunk := await source.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE_BYTES:
                lines.append(rest)
                rest = b""
            if lines:
                self.line(b"\n".join(lines).decode("utf-8", "replace"))
        if rest:
            self.line(rest.decode("utf-8", "replace"))
