"""Large bodies flow through: what limpet holds of them does not grow with them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wire import LOOPBACK, ScriptedTarget, Wire, answer, get, read_head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HERE = Path(__file__).parent
SIZE = 64 << 20
PIECE = bytes(1 << 16)
MAX_GROWTH_BYTES = 16 << 20


async def _send_pieces(wire: Wire, form: bytes = b"%b") -> None:
    for _ in range(SIZE // len(PIECE)):
        await wire.send(form.replace(b"%b", PIECE))


async def _count(wire: Wire, left: int) -> None:
    while left:
        data = await wire.reader.read(min(left, 1 << 18))
        assert data, f"{left} bytes are missing"
        left -= len(data)


async def _until_last_chunk(wire: Wire) -> None:
    end = b""
    while not end.endswith(b"\r\n0\r\n\r\n"):
        data = await wire.reader.read(1 << 18)
        assert data, "the end of the body is missing"
        end = (end + data)[-16:]


async def _serve(_: ScriptedTarget, wire: Wire) -> None:
    # Reads what is uploaded; gives what is downloaded, in the framing asked for.
    while True:
        head = await read_head(wire.reader)
        if head.method == b"POST":
            if head.all(b"content-length"):
                await _count(wire, SIZE)
            else:
                await _until_last_chunk(wire)
            await wire.send(answer(b"got it"))
        elif head.path == b"/length":
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            await _send_pieces(wire)
        else:
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            await _send_pieces(wire, b"10000\r\n%b\r\n")
            await wire.send(b"0\r\n\r\n")


async def _upload(wire: Wire, framing: str) -> None:
    if framing == "length":
        await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
        await _send_pieces(wire)
    else:
        await wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await _send_pieces(wire, b"10000\r\n%b\r\n")
        await wire.send(b"0\r\n\r\n")
    assert (await wire.response()).body == b"got it"


async def _download(wire: Wire, framing: str) -> None:
    await wire.send(get(b"/" + framing.encode()))
    head = await read_head(wire.reader)
    if framing == "length":
        await _count(wire, int(head.one(b"content-length") or 0))
        return
    await _until_last_chunk(wire)


def _pss_bytes(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@contextlib.asynccontextmanager
async def _proxy() -> AsyncIterator[tuple[int, Wire]]:
    target = await ScriptedTarget(_serve).open(LOOPBACK)
    command = [sys.executable, str(HERE / "flow_proxy.py"), str(target.address)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 16
    )
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        yield process.pid, wire
        await wire.close()
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await target.close()


async def _peak_growth(pid: int, flow: asyncio.Task[None]) -> int:
    # PSS while the body flows, not after it: what is held must be bounded at every moment.
    before = _pss_bytes(pid)
    peak = before
    while not flow.done():
        await asyncio.wait([flow], timeout=0.02)
        peak = max(peak, _pss_bytes(pid))
    await flow
    return peak - before


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("direction", [_upload, _download], ids=["up", "down"])
def test_memory_does_not_grow_with_a_body(
    run: Callable[..., Any], direction: Callable[[Wire, str], Any], framing: str
) -> None:
    async def scenario() -> None:
        async with _proxy() as (pid, wire):
            assert (
                await _peak_growth(pid, asyncio.ensure_future(direction(wire, framing)))
            ) < MAX_GROWTH_BYTES

    run(scenario())
