"""Small real servers, and a balancer in the test's own event loop."""

import asyncio
import contextlib
import json

import pytest
import uvloop

from limpet.config.load import load_data
from limpet.control.admin import AdminServer
from limpet.control.balancer import Balancer
from limpet.control.discovery.contract import DiscoveryError
from limpet.control.discovery.resolver import Addresses
from limpet.core.address import parse_address


class SmallServer:
    """An HTTP server that answers its own name; what it does can be changed while it runs."""

    def __init__(self, name):
        self.name = name
        self.status = 200
        self.requests = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.arrived = asyncio.Event()
        self._server = None

    async def start(self, port=0, ssl=None):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=ssl)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    async def stop(self):
        self._server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head)
                self.arrived.set()
                if b"/health" not in head:
                    await self.hold.wait()
                body = self.name.encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (self.status, len(body), body)
                )
                await writer.drain()
        writer.close()


class Ground:
    """What one test has: servers, and a balancer over them with its admin listener."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.servers = {}
        self.data = {}
        self.balancer = None
        self.admin = None
        self.messages = []

    async def server(self, name, ssl=None):
        made = self.servers[name] = SmallServer(name)
        await made.start(ssl=ssl)
        return made

    def group(self, *names, **settings):
        check = {"path": "/health", "interval_s": 0.05, "timeout_s": 0.5, "jitter": 0}
        check |= settings.pop("health_check", {})
        targets = [{"name": name, "address": self.servers[name].address} for name in names]
        return {"targets": targets, "health_check": check, **settings}

    async def start(self, group, *, look_up=None, **data):
        self.data = {
            "listeners": [{"address": "127.0.0.1:0"}],
            "target_groups": {"web": group},
            "access_log": {"path": str(self.tmp_path / "access.log")},
            "keys": {"file": str(self.tmp_path / "keys")},
            **data,
        }
        (self.tmp_path / "keys").write_text("6b" * 32)
        self.balancer = Balancer(lambda: load_data(self.data), _answering(look_up), self.messages.append)
        self.admin = AdminServer(self.balancer)
        await self.admin.start(parse_address("127.0.0.1:0"))
        await self.balancer.start()
        return self.balancer

    @property
    def port(self):
        return next(iter(self.balancer.bound.values())).port

    def state(self, name):
        return self.balancer.state.groups["web"].targets[name]

    async def get(self, path="/", **headers):
        return await exchange(self.port, "GET", path, headers)

    async def call(self, method, path, body=None, **headers):
        sent = {"Host": f"127.0.0.1:{self.admin.bound.port}"}
        if method != "GET":
            sent["Content-Type"] = "application/json"
        status, head, answer = await exchange(
            self.admin.bound.port,
            method,
            path,
            sent | headers,
            b"" if body is None else json.dumps(body).encode(),
        )
        return status, json.loads(answer) if b"application/json" in head.lower() else answer

    async def until(self, condition):
        """Wait until a condition that the event loop brings about holds."""
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # whatever the balancer does meanwhile
                await asyncio.sleep(0.005)

    async def stop(self):
        for server in self.servers.values():
            server.hold.set()
        if self.balancer is not None:
            await self.balancer.stop(1)
            await self.admin.stop()
        for server in self.servers.values():
            await server.stop()


def _answering(look_up):
    """Make a look-up of a function that returns a name's addresses, or raises OSError."""
    if look_up is None:
        return None

    async def answer(name, servers):
        try:
            found = await look_up(name)
        except OSError as error:
            raise DiscoveryError(str(error)) from error
        if not found:
            raise DiscoveryError("no address")
        return Addresses(tuple(found))

    return answer


async def exchange(port, method, path, headers, body=b""):
    """Make one request on a connection of its own; return status, head and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = {"Host": "shop.example", "Connection": "close", "Content-Length": str(len(body))} | headers
    lines = [
        f"{method} {path} HTTP/1.1",
        *[f"{name.replace('_', '-')}: {value}" for name, value in fields.items()],
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    answer = await reader.read()
    writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, rest


@pytest.fixture
def play(tmp_path):
    """Run a test's coroutine on a ground of its own."""

    def run(coroutine):
        async def on_ground():
            ground = Ground(tmp_path)
            try:
                await coroutine(ground)
            finally:
                await ground.stop()

        uvloop.run(on_ground())

    return run
