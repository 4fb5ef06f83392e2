"""The kit of the protocol tests: a real Proxy, scripted targets, and clients that speak raw bytes.

Everything is real but the roles: the proxy listens on loopback and connects to targets whose
connections run a script of the test. Messages are read here by a plain reader that shares no
code with limpet, so that a mistake in one is not hidden by the same mistake in the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from limpet.control import sockets
from limpet.core.active_sessions import ActiveSessions
from limpet.core.address import Address
from limpet.core.balancing import POLICIES
from limpet.core.balancing.policy import PolicySettings
from limpet.core.key_ring import KeyRing
from limpet.core.model import ClientLimits, Forwarding, Listener, Snapshot, TargetGroup, TargetLimits
from limpet.core.stickiness import KINDS
from limpet.core.stickiness.settings import Sealing, StickinessSettings
from limpet.core.target import Health, Target, TargetState
from limpet.proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from limpet.proxy.access_log import AccessLog

#: More than any head that limpet takes.
_LINE_BYTES = 1 << 20
LOOPBACK = Address(host="127.0.0.1", port=0)

Fields = list[tuple[bytes, bytes]]


class Message(NamedTuple):
    """A message as it was read from a socket."""

    start: bytes
    fields: Fields
    body: bytes = b""
    trailers: Fields = []  # noqa: RUF012  # never changed
    raw: bytes = b""

    @property
    def method(self) -> bytes:
        return self.start.split(b" ")[0]

    @property
    def path(self) -> bytes:
        return self.start.split(b" ")[1]

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key == name]

    def one(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, f"{name!r} is there {len(values)} times"
        return values[0] if values else None


def _fields(lines: list[bytes]) -> Fields:
    pairs = [line.split(b":", 1) for line in lines if line]
    return [(name.lower(), value.strip(b" \t")) for name, value in pairs]


async def read_head(reader: asyncio.StreamReader) -> Message:
    raw = await reader.readuntil(b"\r\n\r\n")
    start, *lines = raw[:-4].split(b"\r\n")
    return Message(start, _fields(lines), raw=raw)


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """Return the data of the next chunk; b"" for the last, whose trailer section is left."""
    size = int(await reader.readuntil(b"\r\n"), 16)
    if not size:
        return b""
    data = await reader.readexactly(size + 2)
    assert data.endswith(b"\r\n")
    return data[:-2]


async def read_trailers(reader: asyncio.StreamReader) -> Fields:
    lines = []
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        lines.append(line[:-2])
    return _fields(lines)


async def read_body(reader: asyncio.StreamReader, head: Message, *, is_until_close: bool = False) -> Message:
    if head.all(b"transfer-encoding"):
        parts = []
        while part := await read_chunk(reader):
            parts.append(part)
        return head._replace(body=b"".join(parts), trailers=await read_trailers(reader))
    length = head.one(b"content-length")
    if length is not None:
        return head._replace(body=await reader.readexactly(int(length)))
    return head._replace(body=await reader.read(-1)) if is_until_close else head


class _Reader(asyncio.StreamReader):
    # Keeps what it was fed, for tests of what may not arrive at all.
    def __init__(self) -> None:
        super().__init__(_LINE_BYTES)
        self.seen = bytearray()

    def feed_data(self, data: bytes) -> None:
        if len(self.seen) < 1_000_000:
            self.seen += data
        super().feed_data(data)


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def send_slowly(self, data: bytes) -> None:
        """Send byte by byte, giving the other side the chance to read each on its own."""
        for index in range(len(data)):
            self.writer.write(data[index : index + 1])
            await asyncio.sleep(0)
            if self.writer.is_closing():
                break
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def request(self) -> Message:
        """Read one whole request, as a target."""
        return await read_body(self.reader, await read_head(self.reader))

    async def response(self, method: bytes = b"GET") -> Message:
        """Read one whole final response, as a client."""
        head = await read_head(self.reader)
        if method == b"HEAD" or head.status in {204, 304} or head.status < 200:
            return head
        return await read_body(self.reader, head, is_until_close=True)

    async def ask(self, data: bytes) -> Message:
        await self.send(data)
        return await self.response(data.split(b" ", 1)[0])

    async def is_cut(self) -> bool:
        """Wait for the other side's end; return whether it came as an error."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return True
        return False

    async def rest(self) -> bytes:
        """Return every byte until the other side's end, however it ends."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while part := await self.reader.read(65536):
                data += part
        return data

    def finish(self) -> None:
        """Send no more; go on reading."""
        self.writer.write_eof()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Close as a process that dies does, so that the other side gets an error."""
        if self.writer.is_closing():
            return
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def answer(body: bytes = b"ok", *, head: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    """Frame a plain response of known length."""
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (head, len(body), fields, body)


def get(path: bytes = b"/", fields: bytes = b"", method: bytes = b"GET") -> bytes:
    """Frame a request without a body."""
    return b"%b %b HTTP/1.1\r\nHost: shop.example\r\n%b\r\n" % (method, path, fields)


def post(body: bytes, fields: bytes = b"", path: bytes = b"/") -> bytes:
    """Frame a POST of known length."""
    return b"POST %b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: %d\r\n%b\r\n%b" % (
        path,
        len(body),
        fields,
        body,
    )


class ScriptedTarget:
    """A target on loopback; every connection runs the script.

    Attributes:
        wires: connections, in the order of their arrival.
        requests: what scripts chose to note; `keep_answering` notes each whole request.
    """

    def __init__(self, script: Callable[[ScriptedTarget, Wire], Awaitable[None]] | None = None) -> None:
        self.script = script or keep_answering
        self.wires: list[Wire] = []
        self.requests: list[Message] = []
        self.address = LOOPBACK
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self, address: Address = LOOPBACK) -> Self:
        loop = asyncio.get_running_loop()
        if address.path is not None:
            self._server = await loop.create_unix_server(self._protocol, address.path)
            self.address = address
        else:
            self._server = await loop.create_server(self._protocol, address.host, address.port)
            self.address = Address(host=address.host, port=self._server.sockets[0].getsockname()[1])
        return self

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self.wires:
            wire.reset()
        await asyncio.sleep(0)

    @property
    def seen(self) -> int:
        """How many bytes have arrived on all connections."""
        return sum(len(wire.reader.seen) for wire in self.wires)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_Reader(), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self.wires.append(wire)
        task = asyncio.ensure_future(self._run(wire))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, wire: Wire) -> None:
        try:
            await self.script(self, wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except BaseException as error:  # noqa: BLE001  # told to the test by the scene
            self.errors.append(error)
        finally:
            wire.writer.close()


async def keep_answering(target: ScriptedTarget, wire: Wire) -> None:
    """Answer every request with 200 and its path, for as long as the connection lives."""
    while True:
        request = await wire.request()
        target.requests.append(request)
        await wire.send(answer(request.path))


class Scene:
    """A proxy with its targets and clients; closes them all and tells what went wrong inside."""

    def __init__(self) -> None:
        self.proxy: Proxy = None  # type: ignore[assignment]  # set by `start`
        self.states: list[TargetState] = []
        self.address = LOOPBACK
        self.target_errors: list[tuple[str, str]] = []
        self.targets: list[ScriptedTarget] = []
        self._clients: list[Wire] = []
        self._unhandled: list[dict[str, Any]] = []

    async def target(
        self,
        script: Callable[[ScriptedTarget, Wire], Awaitable[None]] | None = None,
        address: Address = LOOPBACK,
    ) -> ScriptedTarget:
        target = await ScriptedTarget(script).open(address)
        self.targets.append(target)
        return target

    async def start(
        self,
        *addresses: Address,
        limits: TargetLimits | None = None,
        client_limits: ClientLimits | None = None,
        forwarding: Forwarding | None = None,
        stickiness: str = "off",
        listen: Address = LOOPBACK,
        is_proxy_protocol: bool = False,
        access_log: AccessLog | None = None,
        http2: bool = False,
    ) -> Self:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._unhandled.append(context))
        self.states = [_state(chr(65 + i), address) for i, address in enumerate(addresses)]
        listener = Listener(
            address=listen, group="web", is_proxy_protocol=is_proxy_protocol, http2_prior_knowledge=http2
        )
        snapshot = Snapshot(
            version=1,
            listeners=(listener,),
            groups={"web": _group(self.states, stickiness, limits or TargetLimits())},
            client_limits=client_limits or ClientLimits(),
            forwarding=forwarding or Forwarding(),
        )
        self.proxy = Proxy(
            snapshot,
            access_log=access_log,
            on_target_error=lambda _, target, kind: self.target_errors.append((target.id, kind.label)),
        )
        self.listening = sockets.listen(listen)
        self.address = sockets.bound_address(listen, self.listening)
        await self.proxy.open(self.address, listener, self.listening)
        return self

    async def client(self) -> Wire:
        if self.address.path is not None:
            wire = Wire(*await asyncio.open_unix_connection(self.address.path, limit=_LINE_BYTES))
        else:
            wire = Wire(
                *await asyncio.open_connection(self.address.host, self.address.port, limit=_LINE_BYTES)
            )
        self._clients.append(wire)
        return wire

    async def ask(self, data: bytes) -> Message:
        """Send a request on a connection of its own and read the response."""
        client = await self.client()
        response = await client.ask(data)
        await client.close()
        return response

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients:
            client.reset()
        if self.proxy is not None:
            sockets.close(self.listening, self.address.path)
            await self.proxy.drain(0.0)
        for target in self.targets:
            await target.close()
        await asyncio.sleep(0)
        if exc[0] is None:
            assert not self._unhandled, f"an exception escaped into the event loop: {self._unhandled}"
            errors = [error for target in self.targets for error in target.errors]
            assert not errors, errors
            assert all(state.in_flight == state.queued == 0 for state in self.states), self.states


def _state(name: str, address: Address) -> TargetState:
    state = TargetState(Target(id=name, address=address))
    state.health = Health.HEALTHY
    state.takes_sticky = True
    return state


def _group(states: Sequence[TargetState], stickiness: str, limits: TargetLimits) -> TargetGroup:
    sticky = KINDS[stickiness](StickinessSettings(group="web"), Sealing(KeyRing([b"k" * 32]), os.urandom))
    return TargetGroup(
        name="web",
        by_id={state.id: state for state in states},
        available=tuple(states),
        policy=POLICIES["round_robin"](PolicySettings()),
        sessions=ActiveSessions(300),
        stickiness=sticky,
        own_cookies=sticky.own_cookies,
        limits=limits,
    )


def in_scene(scenario: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine function that takes a scene, and perhaps parameters."""

    def test(run: Callable[..., Any], **parameters: Any) -> None:
        async def play() -> None:
            async with Scene() as scene:
                await scenario(scene, **parameters)

        run(play())

    test.__name__ = scenario.__name__
    test.pytestmark = getattr(scenario, "pytestmark", [])  # type: ignore[attr-defined]
    _, *parameters = inspect.signature(scenario).parameters.values()
    run = inspect.Parameter("run", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    test.__signature__ = inspect.Signature([run, *parameters])  # type: ignore[attr-defined]
    return test


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until something has happened; a hang ends with the test's patience."""
    while not condition():  # noqa: ASYNC110  # what a test waits for inside limpet raises no event
        await asyncio.sleep(0.001)


async def refused_address() -> Address:
    """Return an address that nobody listens on."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    return Address(host="127.0.0.1", port=port)
