"""One replica seen from limpet: its port for good, and one process after the other.

Theory of operation. A replica is *starting* until its process reports that it listens, *ready*
until that process ends, and *waiting* (0.5 s, doubled with every failure, at most 30 s) before
the next one. Only the first start may fail for good: an app that cannot be run at all is a
mistake to be told at once, while one that ran before is worth trying again. `stop` ends it in
each of these states.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from limpet.core.address import Address
from limpet.errors import LimpetError
from limpet.replicas.app import AppError
from limpet.replicas.child import bind
from limpet.replicas.letters import letters
from limpet.replicas.output import Printer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.replicas.app import Interface

#: Wait before the first restart; doubled with each further one.
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
#: A process that ran this long was well: the wait after its end is `FIRST_WAIT_S` again.
WELL_AFTER_S = 10.0
#: What is left in the pipes of an ended process is read within this time.
_LAST_WORDS_S = 1.0


class ReplicaError(LimpetError):
    """A replica that ended before it served anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What every replica is told.

    Attributes:
        app: import string, see `limpet.replicas.app.load_app`.
        interface: "asgi" or "wsgi"; None to find out.
        environ: variables set in addition to limpet's own environment.
        module: what is run as `python -m`; it calls `limpet.replicas.child.main`.
        output: where the lines of all replicas go; limpet's own standard output and error if absent.
    """

    app: str
    interface: Interface | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    module: str = "limpet.replicas.child"
    output: TextIO | None = None


class Replica:
    """Keeps one server process of the app running, always on the same port.

    Args:
        index: from 0; makes the name and the colour.
        settings: what to run.

    Attributes:
        name: A, B, C, ...
        address: where its process listens; reserved until `close`.
        pid: of its process while there is one.
        restarts: how often a process had to be started again.
        ready: set while a process of it listens.
    """

    def __init__(self, index: int, settings: AppSettings) -> None:
        self.name = letters(index)
        self._reserved = bind(0)
        host, port = self._reserved.getsockname()
        self.address = Address(host=host, port=port)
        self.pid: int | None = None
        self.restarts = 0
        self._settings = settings
        self.ready = asyncio.Event()
        self._out = Printer(self.name, index, settings.output or sys.stdout)
        self._err = Printer(self.name, index, settings.output or sys.stderr)
        self._stopping = asyncio.Event()
        self._first_ready: asyncio.Future[None]
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and wait until it listens.

        Raises:
            AppError: the app cannot be run; the message says why.
            ReplicaError: the process ended before it was ready.
        """
        self._first_ready = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live())
        await asyncio.shield(self._first_ready)

    async def stop(self, timeout_s: float) -> None:
        """End the process for good: asked first, after `timeout_s` killed with all it has started."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        if self._life is not None:
            _, pending = await asyncio.wait([self._life], timeout=timeout_s)
            if pending:
                self._err.write(f"limpet: did not end within {timeout_s:g} s; killed")
                self._signal_group(signal.SIGKILL)
            await self._life

    async def start_again(self, number: signal.Signals) -> None:
        """End the process with a signal, and wait until the next one listens."""
        self.ready.clear()
        self._signal(number)
        await self.ready.wait()

    def close(self) -> None:
        """Give back the port."""
        self._reserved.close()

    async def _live(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            began_s = time.monotonic()
            ending = await self._run_process()
            if not self._first_ready.done():
                self._first_ready.set_exception(
                    ReplicaError(f"replica {self.name} {ending} before it was ready; its output says why")
                )
            if self._stopping.is_set() or self._first_ready.exception():
                return
            if time.monotonic() - began_s > WELL_AFTER_S:
                wait_s = FIRST_WAIT_S
            self._err.write(f"limpet: {ending}; starts again in {wait_s:g} s")
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
            wait_s = min(wait_s * 2, MAX_WAIT_S)

    async def _run_process(self) -> str:
        # Returns how the process ended, as the rest of a sentence that starts with its name.
        lifeline, childs_end = socket.socketpair()
        output = [os.pipe(), os.pipe()]
        try:
            process = await self._spawn(childs_end.fileno(), output[0][1], output[1][1])
        except OSError as error:
            lifeline.close()
            for read_end, _ in output:
                os.close(read_end)
            return f"could not be started: {error}"
        finally:
            childs_end.close()
            for _, write_end in output:
                os.close(write_end)
        self.pid = process.pid
        copying = [
            asyncio.create_task(printer.copy(read_end))
            for printer, (read_end, _) in zip((self._out, self._err), output, strict=True)
        ]
        reading = asyncio.create_task(self._read_report(lifeline))
        if self._stopping.is_set():
            self._signal(signal.SIGTERM)
        code = await process.wait()
        self.ready.clear()
        self._signal_group(signal.SIGKILL)  # what the app had started must not hold its port or pipes
        self.pid = None
        _, unfinished = await asyncio.wait([*copying, reading], timeout=_LAST_WORDS_S)
        for task in unfinished:
            task.cancel()
        lifeline.close()
        return _describe(code)

    async def _spawn(self, lifeline: int, out: int, err: int) -> asyncio.subprocess.Process:
        command = [sys.executable, "-m", self._settings.module, self._settings.app]
        command += ["--port", str(self.address.port), "--lifeline", str(lifeline)]
        if self._settings.interface is not None:
            command += ["--interface", self._settings.interface]
        own = {"LIMPET_REPLICA": self.name, "PYTHONUNBUFFERED": "1"}
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=[lifeline],
            env={**os.environ, **self._settings.environ, **own},
            start_new_session=True,  # Ctrl-C is for limpet, which lets requests finish first
        )

    async def _read_report(self, lifeline: socket.socket) -> None:
        lifeline.setblocking(False)
        line = b""
        while not line.endswith(b"\n"):
            chunk = await asyncio.get_running_loop().sock_recv(lifeline, 65536)
            if not chunk:
                return
            line += chunk
        report = json.loads(line)
        if "ready" not in report:
            if self._first_ready.done():
                self._err.write(f"limpet: {report['refused']}")
            else:
                self._first_ready.set_exception(AppError(report["refused"]))
            return
        if self._first_ready.done():
            self._err.write(f"limpet: ready again, process {self.pid}")
        else:
            self._first_ready.set_result(None)
        self.ready.set()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def _describe(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
