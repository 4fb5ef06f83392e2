"""No spelling of a guarded path gets past a rule to a server that would read it as that path.

The servers are real, and each reads paths in a way of its own. That the spellings are worth trying is
checked too: without the rule they do reach what is guarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from echo_servers import START_S, await_socket
from site_of_rules import Site
from wire import Scene, get

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
GUARD = {"path_prefix": "/admin", "fixed_response": {"status": 403, "body": "guarded"}}

#: Some ways to write nothing, some to write the name, some to go on behind it.
BEFORE = [
    "/", "//", "///", "/./", "/.//", "/x/../", "/x/%2e%2e/", "/x/.%2E/", "/x%2f..%2f", "/x/..%2f", "/%2f",
    "/x/..;/", "/;a=b/", "/x\\..\\", "\\", "/x/..\\", "/%5c", "/x%5c..%5c", "/x/%252e%252e/", "/%2e/", "/../",
]  # fmt: skip
NAME = ["admin", "ADMIN", "Adm%69n", "%2561dmin"]
BEHIND = ["", "/", "/x", "/.", "/x/..", ";a=b", "%2fx", "\\x", "%00", "?x=/../y"]
SPELLINGS = [
    path
    for path in ("".join(parts) for parts in itertools.product(BEFORE, NAME, BEHIND))
    if path.startswith("/")
]

_NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000;
  server {{
    listen unix:{folder}/nginx;
    location ~* ^/admin(/|$) {{ return 200 SECRET; }}
    location / {{ proxy_pass http://unix:{folder}/inner:/; }}
  }}
  server {{
    listen unix:{folder}/inner;
    location ~* ^/admin(/|$) {{ return 200 SECRET; }}
    location / {{ return 200 open; }}
  }}
}}
"""


def _command(name: str, folder: Path) -> list[str]:
    python = [sys.executable, "-m"]
    if name == "nginx":
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        return [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return {
        "flask": [*python, "gunicorn", "guarded_apps:flask", "-k", "gthread", "--keep-alive", "60",
                  "--log-level", "warning", "-b", f"unix:{folder}/flask"],
        "starlette": [*python, "uvicorn", "guarded_apps:starlette", "--log-level", "warning",
                      "--no-access-log", "--uds", f"{folder}/starlette"],
        "node": ["node", str(HERE / "guarded.js"), f"{folder}/node"],
    }[name]  # fmt: skip


@contextlib.contextmanager
def server(name: str) -> Iterator[Path]:
    """Run a server; gives its socket."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / name
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
        with subprocess.Popen(_command(name, Path(folder)), env=environ, cwd=HERE) as process:
            try:
                await_socket(place, process)
                yield place
            finally:
                process.terminate()
                process.wait(START_S)


async def _answers(place: Path, *rules: dict[str, object]) -> dict[str, tuple[int, bytes]]:
    """Ask for every spelling, over a few connections at a time."""
    async with Scene() as scene:
        await scene.start()
        site = Site(scene)
        site.groups["web"] = {
            "targets": [f"unix:{place}"],
            "health_check": {"enabled": False},
            "stickiness": {"type": "off"},
        }
        site.use(*rules)
        answers: dict[str, tuple[int, bytes]] = {}
        left = iter(SPELLINGS)

        async def ask() -> None:
            client = await scene.client()
            for path in left:
                response = await client.ask(get(path.encode()))
                answers[path] = (response.status, response.body)
                if response.one(b"connection") == b"close":
                    await client.close()
                    client = await scene.client()

        await asyncio.gather(*(ask() for _ in range(4)))
        return answers


@pytest.mark.parametrize("name", ["flask", "starlette", "node", "nginx"])
def test_no_spelling_gets_past_the_guard(name: str, run: Callable[..., dict[str, tuple[int, bytes]]]) -> None:
    with server(name) as place:
        unguarded = run(_answers(place))
        guarded = run(_answers(place, GUARD))
    reached = {path for path, (_, body) in unguarded.items() if body == b"SECRET"}
    assert len(reached) > 5, "the spellings are worth nothing"
    assert not [path for path, (_, body) in guarded.items() if body == b"SECRET"]
    assert {status for status, _ in guarded.values()} >= {400, 403}
    open_to_all = {path for path, (status, _) in guarded.items() if status == 200}
    assert not open_to_all & reached
