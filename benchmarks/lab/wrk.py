"""Load at full speed: wrk keeps a number of connections busy, each with one request at a time."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import machine
from lab.messages import SESSIONS, browser_heads, sticky_cookies

if TYPE_CHECKING:
    from pathlib import Path

    from lab.processes import Lab
    from lab.proxies import Proxy

CONNECTIONS = 32

# The requests are made once and only handed out here: wrk has to be cheaper than what it measures.
_SCRIPT = """
local requests = {{{requests}}}
local next = 0
request = function()
  next = next % #requests + 1
  return requests[next]
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    requests_per_s: float
    errors: int


def write_script(lab: Lab, proxy: Proxy, sessions: int = SESSIONS) -> Path:
    """Fetch sticky cookies from a proxy and write the script that sends them."""
    heads = browser_heads(sticky_cookies(proxy.port, sessions))
    # A string of ASCII is written alike in JSON and in Lua.
    text = _SCRIPT.format(requests=",".join(json.dumps(head.decode("ascii")) for head in heads))
    return lab.write(f"{proxy.process.name}.lua", text)


def run(lab: Lab, proxy: Proxy, script: Path, seconds: float) -> Load:
    """Load a proxy for some (whole) seconds."""
    wrk = [machine.tool("taskset"), "-c", lab.load_cores, machine.tool("wrk")]
    argv = [
        *wrk,
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds:.0f}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{proxy.port}/",
    ]
    out = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    done = re.search(r"(\d+) requests in ", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if done is None or rate is None:
        proxy.process.fail(f"was not measured by wrk, which said\n{out}\nand it said")
        raise AssertionError
    not_ok = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    errors = int(not_ok[1]) if not_ok else 0
    errors += sum(map(int, broken.groups())) if broken else 0
    return Load(int(done[1]), float(rate[1]), errors)
