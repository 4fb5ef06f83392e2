"""A data plane of several worker processes, so that limpet uses more than one core.

Theory of operation. Control stays in one process: it reads the configuration, checks targets
and answers the admin API. Each worker has a whole data plane and is told the same: the current
snapshot, the sockets to listen on, the access log. Workers share no fate: one that dies costs
its own connections, its place on the board is cleared, and another is started and told all
that the first knew. What it had counted is kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import sys
import tempfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from limpet.control.plane.channel import Channel
from limpet.control.plane.contract import Active, HandshakeTotals, Totals
from limpet.control.plane.copying import pack_snapshot
from limpet.core.active_sessions import join_residences
from limpet.errors import ConfigError
from limpet.proxy.board import SLOTS, Board, make_file
from limpet.proxy.counters import add_rows

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Mapping, Sequence

    from limpet.config.schema import AccessLogSettings, TracingSettings
    from limpet.control.state import GroupState
    from limpet.core.active_sessions import Residence
    from limpet.core.address import Address
    from limpet.core.model import Listener, Snapshot, TargetGroup
    from limpet.core.target import TargetState
    from limpet.errors import ErrorKind
    from limpet.proxy.counters import Outcome

_START_S = 20.0
_ANSWER_S = 2.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 5.0
#: A worker that shows no sign of life for so long, and for so long after that was noticed, is stuck.
_STUCK_S, _STUCK_AGAIN_S = 30.0, 5.0
#: So much that a worker was told and has not read means the same.
_MAX_UNSENT_BYTES = 16 << 20
#: A worker that has lived so long has started well.
_SETTLED_S = 30.0


class WorkerError(Exception):
    """A worker could not be started, or does not answer."""


class Workers:
    """See `contract.DataPlane`.

    Args:
        count: how many workers; at least 2.
        on_target_error: as for `Proxy`.
        on_message: gets sentences for the operator.
    """

    def __init__(
        self,
        count: int,
        on_target_error: Callable[[TargetGroup, TargetState, ErrorKind], None],
        on_message: Callable[[str], None],
    ) -> None:
        self._on_target_error = on_target_error
        self._on_message = on_message
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as workers may be started
        make_file(count, self._file.fileno())
        self._board = Board(self._file.fileno(), count)
        self._slots: dict[TargetState, int] = {}
        self._free = list(range(SLOTS - 1, -1, -1))
        self._counted: dict[TargetState, Counter[str]] = {}  # by workers that are gone
        self._totals: Counter[str] = Counter()  # as well
        self._outcomes: dict[Outcome, list[float]] = {}  # as well
        self.deaths = 0
        self._snapshot: tuple[Snapshot, bytes] | None = None
        self._listening: dict[Address, tuple[Listener, Sequence[socket.socket]]] = {}
        self._log: AccessLogSettings | None = None
        self._tracing: TracingSettings | None = None
        self._workers = [_Worker(number, count, self) for number in range(count)]
        self._keepers: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all workers, and keep them running.

        Raises:
            ConfigError: one of them cannot be started.
        """
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except WorkerError as error:
            await self._kill()
            raise ConfigError([f"workers: {error}"]) from None
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]

    def use(self, snapshot: Snapshot, groups: Mapping[str, GroupState]) -> None:
        """Give every worker a snapshot."""
        data = pack_snapshot(snapshot, groups, self._slot)
        self._snapshot = snapshot, data
        self._tell("use", data)

    async def open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Let every worker accept from sockets."""
        self._listening[bound] = listener, sockets
        await asyncio.gather(*(worker.open(bound, listener, sockets) for worker in self._living()))

    def relisten(self, bound: Address, listener: Listener) -> None:
        """Serve another listener on a bound address."""
        self._listening[bound] = listener, self._listening[bound][1]
        self._tell("relisten", bound, listener)

    def close(self, bound: Address) -> None:
        """Stop serving on a bound address."""
        del self._listening[bound]
        self._tell("close", bound)

    def forget(self, state: TargetState) -> None:
        """End what is left of a target; its slot is free once every worker has let go."""
        slot = self._slots.pop(state, None)
        self._counted.pop(state, None)
        if slot is not None:
            task = asyncio.create_task(self._let_go(slot))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def use_log(self, settings: AccessLogSettings) -> None:
        """Write another access log; all workers append to it."""
        self._log = settings
        self._tell("use_log", settings)

    def use_tracing(self, settings: TracingSettings) -> None:
        """Make spans of requests, or stop making them."""
        self._tracing = settings
        self._tell("use_tracing", settings)

    def reopen_log(self) -> None:
        """Go on in a new file of the same name."""
        self._tell("reopen_log")

    def refresh(self) -> Totals:
        """Add up what the workers have written down."""
        board = self._board
        self._end_the_stuck()
        for state, slot in self._slots.items():
            before = self._counted.get(state, Counter())
            requests, errors, queued = board.counts(slot)
            state.in_flight = sum(board.row(slot))
            state.requests = requests + before["requests"]
            state.errors = errors + before["errors"]
            state.queued = queued
        return Totals(
            requests=board.total("requests") + self._totals["requests"],
            connections=board.total("connections"),
            rejected_connections=board.total("rejected") + self._totals["rejected"],
        )

    async def active_sessions(self) -> Mapping[str, Active]:
        """Return which sessions were seen lately; one that two workers saw counts once."""
        names = self._snapshot[0].groups if self._snapshot is not None else {}
        seen: dict[str, dict[bytes, Residence]] = {name: {} for name in names}
        truncated: set[str] = set()
        for answer in await self._ask("active_sessions"):
            for name, (residences, is_truncated) in answer.items():
                if name in seen:
                    join_residences(seen[name], residences)
                if is_truncated:
                    truncated.add(name)
        return {name: Active(residences, name in truncated) for name, residences in seen.items()}

    async def outcomes(self) -> Mapping[Outcome, list[float]]:
        """Return what became of requests in all workers, those that are gone included."""
        await asyncio.gather(*(worker.count() for worker in self._living()))
        total = dict(self._outcomes)
        for worker in self._workers:
            add_rows(total, worker.outcomes)
        return total

    async def handshakes(self) -> HandshakeTotals:
        """Add up what the workers have counted; what one that died had counted is lost."""
        answers: list[HandshakeTotals] = await self._ask("handshakes")
        failed: Counter[str] = Counter()
        for answer in answers:
            failed.update(answer.failed)
        return HandshakeTotals(
            sum(answer.done for answer in answers), sum(answer.resumed for answer in answers), failed
        )

    async def explain(self, request_id: str) -> dict[str, object] | None:
        """Return a recent request's decision, whichever worker made it."""
        answers = await self._ask("explain", request_id)
        return next((answer for answer in answers if answer is not None), None)

    async def recent(self, count: int) -> list[dict[str, object]]:
        """Return recent decisions of all workers."""
        rows = [row for answer in await self._ask("recent", count) for row in answer]
        rows.sort(key=lambda row: row["time"], reverse=True)
        notable = [row for row in rows[count:] if row["is_notable"]]
        notable_left = count - sum(1 for row in rows[:count] if row["is_notable"])
        return rows[:count] + notable[:notable_left]

    async def drain(self, timeout_s: float, cutting: asyncio.Event | None = None) -> int:
        """Let every worker finish, and end it."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        cut = asyncio.create_task(self._cut_when(cutting)) if cutting is not None else None
        draining = [worker.call("drain", timeout_s, patience_s=timeout_s + 5) for worker in self._living()]
        answers = await asyncio.gather(*draining, return_exceptions=True)
        if cut is not None:
            cut.cancel()
        self.refresh()
        await self._kill()
        self._file.close()
        return sum(answer for answer in answers if isinstance(answer, int))

    # workers

    def brief(self, worker: _Worker) -> None:
        """Tell a new worker all that the others know."""
        accepted = [self._board.get(other, "accepted") for other in range(self._board.workers)]
        self._board.put(worker.number, "accepted", max(accepted))  # or it would have to catch up
        if self._log is not None:
            worker.tell("use_log", self._log)
        if self._tracing is not None:
            worker.tell("use_tracing", self._tracing)
        if self._snapshot is not None:
            worker.tell("use", self._snapshot[1])
        for bound, (listener, sockets) in self._listening.items():
            worker.tell_open(bound, listener, sockets)

    def heard(self, message: tuple[Any, ...]) -> None:
        """Take in what a worker says by itself."""
        match message:
            case ("target_error", group_name, slot, kind, failures):
                state = next((each for each, own in self._slots.items() if own == slot), None)
                group = self._snapshot[0].groups.get(group_name) if self._snapshot is not None else None
                if state is not None and group is not None:
                    state.failures = failures
                    self._on_target_error(group, state, kind)
            case ("failed", _, what):
                self._on_message(f"a bug in limpet, please report it: a worker could not {what}")

    @property
    def board_descriptor(self) -> int:
        """The file of the board."""
        return self._file.fileno()

    async def _keep(self, worker: _Worker) -> None:
        pause_s = _FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            how = await worker.wait()
            self.deaths += 1
            self._clear(worker)
            if loop.time() - started_s > _SETTLED_S:
                pause_s = _FIRST_PAUSE_S
            self._on_message(f"worker {worker.number} {how}; another one takes its place")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
            with contextlib.suppress(WorkerError):  # its end is told in the next round
                await worker.start()

    def _clear(self, worker: _Worker) -> None:
        add_rows(self._outcomes, worker.outcomes)
        worker.outcomes = {}
        self._totals["requests"] += self._board.get(worker.number, "requests")
        self._totals["rejected"] += self._board.get(worker.number, "rejected")
        slots = list(self._slots.values())
        for state, left in zip(self._slots, self._board.clear_worker(worker.number, slots), strict=True):
            before = self._counted.setdefault(state, Counter())
            before["requests"] += left[0]
            before["errors"] += left[1]

    def _end_the_stuck(self) -> None:
        # Not at the first look: after a pause of the whole machine everybody seems stuck.
        now_s = asyncio.get_running_loop().time()
        for worker in self._living():
            seen_s = self._board.get(worker.number, "seen_ms") / 1000
            if now_s - seen_s < _STUCK_S and worker.unsent_bytes < _MAX_UNSENT_BYTES:
                worker.stuck_since_s = None
            elif worker.stuck_since_s is None:
                worker.stuck_since_s = now_s
            elif now_s - worker.stuck_since_s > _STUCK_AGAIN_S:
                self._on_message(f"worker {worker.number} does nothing any more and is ended")
                worker.end()

    async def _kill(self) -> None:
        await asyncio.gather(*(worker.kill() for worker in self._workers))

    async def _cut_when(self, cutting: asyncio.Event) -> None:
        await cutting.wait()
        self._tell("cut")

    def _living(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.is_ready]

    def _tell(self, name: str, *arguments: Any) -> None:
        for worker in self._living():
            worker.tell(name, *arguments)

    async def _ask(self, name: str, *arguments: Any) -> list[Any]:
        calls = [worker.call(name, *arguments) for worker in self._living()]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    # slots

    def _slot(self, state: TargetState) -> int:
        slot = self._slots.get(state)
        if slot is None:
            if not self._free:
                raise ConfigError([f"targets: there are more than {SLOTS}; use one worker, or fewer targets"])
            slot = self._slots[state] = self._free.pop()
            self._board.clear_slot(slot)
        return slot

    async def _let_go(self, slot: int) -> None:
        await self._ask("forget", slot)
        self._free.insert(0, slot)  # the last to be used again


class _Worker:
    # One place among the workers, and the process that has it now.

    def __init__(self, number: int, count: int, all_: Workers) -> None:
        self.number = number
        self.is_ready = False
        self._count = count
        self._all = all_
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.stuck_since_s: float | None = None
        self.outcomes: Mapping[Outcome, list[float]] = {}

    async def start(self) -> None:
        """Start a process and wait until it is ready.

        Raises:
            WorkerError: it ends first, or takes too long.
        """
        ours, theirs = socket.socketpair()
        board = self._all.board_descriptor
        numbers = (self.number, self._count, theirs.fileno(), board)
        self._ready.clear()
        self.stuck_since_s = None
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the current folder is no business of a worker
                "-m",
                "limpet.control.plane.worker",
                *map(str, numbers),
                pass_fds=(theirs.fileno(), board),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is for control
            )
        self._channel = Channel(asyncio.get_running_loop(), ours, self._heard, self._ended)
        ready = asyncio.create_task(self._ready.wait())
        dead = asyncio.create_task(self._process.wait())
        await asyncio.wait({ready, dead}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
        is_ready = ready.done()
        for waiting in (ready, dead):
            waiting.cancel()
        if not is_ready:
            await self.kill()
            raise WorkerError(f"worker {self.number} did not start; its output says why")

    @property
    def unsent_bytes(self) -> int:
        """What it was told and has not read."""
        return self._channel.unsent_bytes if self._channel is not None else 0

    def end(self) -> None:
        """Kill it; `wait` tells when it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def wait(self) -> str:
        """Wait for the process to end and return how it did."""
        assert self._process is not None  # noqa: S101  # started
        code = await self._process.wait()
        self._ended()
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    async def kill(self) -> None:
        """End the process at once, if it has not ended by itself."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ANSWER_S if not self.is_ready else 0.5):
                    await self._process.wait()
            if self._process.returncode is None:
                self.end()
                await self._process.wait()
        self._ended()

    def tell(self, name: str, *arguments: Any) -> None:
        """Send what needs no answer."""
        if self._channel is not None:
            self._channel.send((None, name, arguments))

    def tell_open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Send sockets to accept from."""
        if self._channel is not None:
            descriptors = [each.fileno() for each in sockets]
            self._channel.send((None, "open", (bound, listener, len(descriptors))), descriptors)

    async def open(self, bound: Address, listener: Listener, sockets: Sequence[socket.socket]) -> None:
        """Send sockets to accept from, and wait until it does."""
        self.tell_open(bound, listener, sockets)
        with contextlib.suppress(WorkerError):  # it died: the next one gets them
            await self.call("nothing")

    async def count(self) -> None:
        """Ask what it has counted; what it told last stands if it does not answer."""
        with contextlib.suppress(WorkerError):
            self.outcomes = await self.call("outcomes")

    async def call(self, name: str, *arguments: Any, patience_s: float = _ANSWER_S) -> Any:
        """Ask for something and return the answer.

        Raises:
            WorkerError: there is none.
        """
        if self._channel is None:
            raise WorkerError(f"worker {self.number} is gone")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._channel.send((number, name, arguments))
        try:
            async with asyncio.timeout(patience_s):
                return await answer
        except TimeoutError:
            raise WorkerError(f"worker {self.number} does not answer") from None
        finally:
            self._answers.pop(number, None)

    def _heard(self, message: tuple[Any, ...], descriptors: deque[int]) -> None:
        del descriptors
        if message[0] == "ready":
            self.is_ready = True
            self._ready.set()
            self._all.brief(self)
        elif message[0] == "outcomes":
            self.outcomes = message[1]
        elif message[0] == "reply":
            answer = self._answers.get(message[1])
            if answer is not None and not answer.done():
                answer.set_result(message[2])
        else:
            answer = self._answers.get(message[1]) if message[0] == "failed" else None
            if answer is not None and not answer.done():
                answer.set_exception(WorkerError(message[2]))
            self._all.heard(message)

    def _ended(self) -> None:
        self.is_ready = False
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerError(f"worker {self.number} died"))
