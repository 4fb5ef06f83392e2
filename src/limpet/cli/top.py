"""`limpet top`: the dashboard's numbers in a terminal, once a second.

Theory of operation. One thread reads the feed and keeps the latest frame; the main thread draws it
when there is a new one, a key was pressed or the window has another size. Each of the three writes a
byte into a pipe, which the main thread waits for.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
import tty
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live

from limpet.cli.admin_client import AdminRefusal, admin_option
from limpet.cli.feed import FeedLostError, frames
from limpet.cli.output import EXIT_UNREACHABLE, EXIT_USAGE, console, fail
from limpet.cli.top_screen import screen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from limpet.cli.admin_client import AdminClient

_PAGE = 10
#: What keys do: by so many targets down, to the first, or to the last.
_MOVES = {
    b"j": 1,
    b"\x1b[B": 1,
    b"k": -1,
    b"\x1b[A": -1,
    b" ": _PAGE,
    b"\x1b[6~": _PAGE,
    b"b": -_PAGE,
    b"\x1b[5~": -_PAGE,
    b"g": -1_000_000,
    b"G": 1_000_000,
}
_QUIT = {b"q", b"Q", b"\x04"}
#: Several may come at once.
_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|.", re.DOTALL)


@click.command()
@click.option("--once", is_flag=True, help="Print the numbers once, as to a pipe.")
@admin_option
def top(client: AdminClient, once: bool) -> None:
    """Watch targets, load, response times and sessions.

    Rates and times are of the last five seconds. Keys: q ends, arrows or j and k scroll. To a pipe the
    numbers are printed once.
    """
    try:
        if once or not sys.stdout.isatty() or not sys.stdin.isatty():
            _print_once(client)
        else:
            _Watch(client, console()).run()
    except FeedLostError as error:
        fail(str(error), EXIT_UNREACHABLE)
    except AdminRefusal as refusal:
        fail(str(refusal), EXIT_USAGE)


def _print_once(client: AdminClient) -> None:
    output = console()
    for frame in frames(client):
        if frame["rates"] is not None:  # a rate needs two looks
            output.print(screen(frame, output.width).content)
            return


class _Watch:
    def __init__(self, client: AdminClient, output: Console) -> None:
        self._client = client
        self._output = output
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._frame: dict[str, Any] | None = None
        self._is_away = False
        self._failure: Exception | None = None
        self._scroll = 0

    def run(self) -> None:
        """Draw until somebody ends it."""
        reader = threading.Thread(target=self._read, daemon=True)  # it may wait for limpet when we end
        reader.start()
        with contextlib.suppress(KeyboardInterrupt), self._keys(), self._resizes():
            self._wait()  # what cannot be reached is told on the ordinary screen
            self._raise()
            with Live(console=self._output, screen=True, auto_refresh=False) as live:
                while self._failure is None:
                    self._draw(live)
                    if self._wait() & _QUIT:
                        return
            self._raise()

    def _read(self) -> None:
        try:
            for frame in frames(self._client, self._note_away):
                self._frame, self._is_away = frame, False
                self._tell()
        except Exception as error:  # noqa: BLE001  # the main thread says it
            self._failure = error
            self._tell()

    def _note_away(self) -> None:
        self._is_away = True
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is told already
            os.write(self._wake, b"!")

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _draw(self, live: Live) -> None:
        if self._frame is None:
            return
        size = self._output.size
        shown = screen(self._frame, size.width, size.height, self._scroll, self._notice())
        self._scroll = shown.first - 1
        live.update(shown.content, refresh=True)

    def _notice(self) -> str:
        if self._is_away:
            return "limpet does not answer; trying again"
        return "q ends, arrows scroll"

    def _wait(self) -> set[bytes]:
        # Until something happens; returns the keys.
        ready, _, _ = select.select([self._woken, sys.stdin], [], [])
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        if sys.stdin not in ready:
            return set()
        pressed = os.read(sys.stdin.fileno(), 1024)
        keys = _KEY.findall(pressed)
        for key in keys:
            self._scroll = max(0, self._scroll + _MOVES.get(key, 0))
        return set(keys) if pressed else _QUIT  # the terminal is gone

    @contextlib.contextmanager
    def _keys(self) -> Iterator[None]:
        # Keys come one by one and are not shown.
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin)
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    @contextlib.contextmanager
    def _resizes(self) -> Iterator[None]:
        before = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
        fd = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            signal.signal(signal.SIGWINCH, before)
