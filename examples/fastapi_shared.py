"""A FastAPI shop that keeps its logins and carts in a store that every copy of it reads.

Any copy may answer, and any copy may die, and nobody is logged out:

    limpet serve examples.fastapi_shared:app --session-store sqlite:///sessions.db --stickiness off
"""

import asyncio
import os
from html import escape
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

from limpet.sessions import Session
from limpet.sessions.asgi import SessionMiddleware

app = FastAPI()
app.add_middleware(SessionMiddleware)  # store and secret come from LIMPET_SESSION_STORE and LIMPET_SECRET
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))

REPLICA = os.environ.get("LIMPET_REPLICA", "alone")  # `limpet serve` names each copy: A, B, C, ...
LOG_IN = '<form method="post" action="/login"><input name="name"><button>log in</button></form>'
SHOP = """<p>Your cart holds {cart} things.</p>
<form method="post" action="/cart"><button>put a thing in the cart</button></form>
<form method="post" action="/logout"><button>log out</button></form>"""
PAGE = """<!doctype html><meta charset="utf-8"><title>limpet example</title>
<link rel="stylesheet" href="/static/style.css">
<h1>{greeting}</h1><p>This is replica {replica}, process {process}.</p>{body}"""


def page(greeting: str, body: str) -> str:
    """Return a page that says who made it."""
    return PAGE.format(greeting=greeting, replica=REPLICA, process=os.getpid(), body=body)


async def loaded(request: Request) -> Session:
    """Load the session before the endpoint runs, so that its first use does not wait for the store."""
    session: Session = request.session
    await session.aload()
    return session


Loaded = Annotated[Session, Depends(loaded)]


@app.get("/", response_class=HTMLResponse)
async def home(session: Loaded) -> str:
    """Greet whoever is logged in."""
    if session.user_id is None:
        return page("You are logged out", LOG_IN)
    return page(f"Hello {escape(session.user_id)}", SHOP.format(cart=session.get("cart", 0)))


@app.post("/login")
async def login(request: Request, session: Loaded, name: str = "somebody") -> RedirectResponse:
    """Log in under any name, given in the form or in the query."""
    form = parse_qs((await request.body()).decode())
    session.login(form.get("name", [name])[0])
    return RedirectResponse("/", status_code=303)


@app.post("/cart")
async def put_in_cart(session: Loaded) -> Response:
    """Put a thing in the cart; two requests at once put in two."""
    if session.user_id is None:
        return PlainTextResponse("Please log in.\n", 403)
    session.incr("cart")
    return RedirectResponse("/", status_code=303)


@app.post("/logout")
async def logout(session: Loaded) -> RedirectResponse:
    """End the session, on every server."""
    session.logout()
    return RedirectResponse("/", status_code=303)


@app.get("/slow", response_class=PlainTextResponse)
async def slow(seconds: float = 1) -> str:
    """Answer after some seconds, e.g. /slow?seconds=2."""
    await asyncio.sleep(min(seconds, 30))
    return "done\n"
