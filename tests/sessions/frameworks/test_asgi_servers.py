"""The ASGI frameworks in real servers: two uvicorn processes with one store, HTTP and WebSockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.sync.client import unix_connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 30.0
STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from limpet.sessions.asgi import SessionMiddleware

async def login(request):
    request.session.login("ann")
    return JSONResponse("ok")

async def count(request):
    return JSONResponse([request.session.user_id, request.session.incr("n")])

async def echo(websocket):
    await websocket.accept()
    await websocket.send_text(str(websocket.session.user_id))
    await websocket.close()

app = Starlette(routes=[Route("/login", login), Route("/count", count), WebSocketRoute("/ws", echo)])
app.add_middleware(SessionMiddleware)
"""
FASTAPI = """
from typing import Annotated
from fastapi import Depends, FastAPI, WebSocket
from starlette.requests import HTTPConnection
from limpet.sessions import Session
from limpet.sessions.asgi import SessionMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware)

async def current(connection: HTTPConnection):
    await connection.session.aload()
    return connection.session

@app.get("/login")
def login(session: Annotated[Session, Depends(current)]):
    session.login("ann")
    return "ok"

@app.get("/count")
async def count(session: Annotated[Session, Depends(current)]):
    return [session.user_id, session.incr("n")]

@app.websocket("/ws")
async def echo(websocket: WebSocket, session: Annotated[Session, Depends(current)]):
    await websocket.accept()
    await websocket.send_text(str(session.user_id))
    await websocket.close()
"""
LITESTAR = """
from typing import Any
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.middleware import DefineMiddleware
from limpet.sessions import Sessions
from limpet.sessions.asgi import SessionMiddleware

@get("/login")
async def login(request: Request[Any, Any, Any]) -> str:
    request.session.login("ann")
    return "ok"

@get("/count")
async def count(request: Request[Any, Any, Any]) -> list[Any]:
    return [request.session.user_id, request.session.incr("n")]

@websocket("/ws")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_text(str(socket.session.user_id))
    await socket.close()

app = Litestar([login, count, echo], middleware=[DefineMiddleware(SessionMiddleware, sessions=Sessions())])
"""
APPS = {"starlette": STARLETTE, "fastapi": FASTAPI, "litestar": LITESTAR}


@contextmanager
def uvicorn(folder: Path, name: str) -> Iterator[str]:
    """Serve `folder/app.py`; the value is the path of the server's socket."""
    path = str(folder / name)
    command = [sys.executable, "-m", "uvicorn", "app:app", "--uds", path, "--log-level", "warning"]
    environ = os.environ | {
        "LIMPET_SESSION_STORE": f"sqlite:///{folder}/sessions.db",
        "LIMPET_SECRET": "a secret for tests that is long enough",
        "LIMPET_SESSION_SECURE": "0",
    }
    process = subprocess.Popen(command, cwd=folder, env=environ)
    try:
        end_s = time.monotonic() + TIMEOUT_S
        while not _listens(path):
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < end_s, "the server does not listen"
            time.sleep(0.02)
        yield path
    finally:
        process.terminate()
        assert process.wait(TIMEOUT_S) in {0, -15}


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("framework", APPS)
def test_any_process_knows_the_user(tmp_path: Path, framework: str) -> None:
    (tmp_path / "app.py").write_text(APPS[framework])
    with uvicorn(tmp_path, "one") as one, uvicorn(tmp_path, "two") as two:
        cookies = httpx.Cookies()
        seen = []
        for path, target in ((one, "/login"), (two, "/count"), (one, "/count"), (two, "/count")):
            with httpx.Client(transport=httpx.HTTPTransport(uds=path), cookies=cookies) as client:
                seen.append(client.get(f"http://localhost{target}").text)
                cookies = client.cookies
        assert seen[1:] == ['["ann",1]', '["ann",2]', '["ann",3]']
        header = "; ".join(f"{name}={value}" for name, value in cookies.items())
        with unix_connect(two, "ws://localhost/ws", additional_headers={"Cookie": header}) as websocket:
            assert websocket.recv(TIMEOUT_S) == "ann"
