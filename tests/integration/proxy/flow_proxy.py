"""A proxy in a process of its own, so that its memory can be measured.

Usage: python flow_proxy.py HOST:PORT of the target; prints the port it listens on, then serves
until its input ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2] / "protocol"))

from wire import Scene

from limpet.core.address import parse_address


async def main() -> None:
    async with Scene() as scene:
        await scene.start(parse_address(sys.argv[1]))
        print(scene.address.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
