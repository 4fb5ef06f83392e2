"""A FastAPI app that keeps its logins in the memory of its process.

Run five copies of it, and each knows only those who logged in there:

    limpet serve examples.fastapi_memory:app --stickiness off   # reload the page: you are logged out
    limpet serve examples.fastapi_memory:app                    # reload the page: you stay logged in
"""

import asyncio
import os
import secrets
from html import escape
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Cookie, FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

app = FastAPI()
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
logins: dict[str, str] = {}  # session id -> name; other copies of the app never see it


REPLICA = os.environ.get("LIMPET_REPLICA", "alone")  # `limpet serve` names each copy: A, B, C, ...
LOG_IN = '<form method="post" action="/login"><input name="name"><button>log in</button></form>'
LOG_OUT = '<form method="post" action="/logout"><button>log out</button></form>'
PAGE = """<!doctype html><meta charset="utf-8"><title>limpet example</title>
<link rel="stylesheet" href="/static/style.css">
<h1>{greeting}</h1><p>This is replica {replica}, process {process}.</p>{form}"""


def page(name: str | None) -> str:
    """Return the page for a user, or for somebody who is logged out."""
    if name is None:
        return PAGE.format(greeting="You are logged out", replica=REPLICA, process=os.getpid(), form=LOG_IN)
    return PAGE.format(greeting=f"Hello {escape(name)}", replica=REPLICA, process=os.getpid(), form=LOG_OUT)


Sid = Annotated[str, Cookie()]


@app.get("/", response_class=HTMLResponse)
async def home(sid: Sid = "") -> str:
    """Greet whoever this copy of the app knows."""
    return page(logins.get(sid))


@app.post("/login")
async def login(request: Request, name: str = "somebody") -> RedirectResponse:
    """Log in under any name, given in the form or in the query."""
    form = parse_qs((await request.body()).decode())
    sid = secrets.token_urlsafe()
    logins[sid] = form.get("name", [name])[0]
    response = RedirectResponse("/", status_code=303)
    response.set_cookie("sid", sid, httponly=True, samesite="lax")
    return response


@app.post("/logout")
async def logout(sid: Sid = "") -> RedirectResponse:
    """Forget the login, here and in the browser."""
    logins.pop(sid, None)
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie("sid")
    return response


@app.get("/slow", response_class=PlainTextResponse)
async def slow(seconds: float = 1) -> str:
    """Answer after some seconds, e.g. /slow?seconds=2."""
    await asyncio.sleep(min(seconds, 30))
    return "done\n"
