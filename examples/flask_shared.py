"""A Flask shop that keeps its logins and carts in a store that every copy of it reads.

Any copy may answer, and any copy may die, and nobody is logged out:

    limpet serve examples.flask_shared:app --session-store sqlite:///sessions.db --stickiness off
"""

import os
import time
from html import escape

from flask import Flask, Response, redirect, request, session
from werkzeug.wrappers import Response as AnyResponse

from limpet.sessions.flask import LimpetSessions

app = Flask(__name__)
LimpetSessions(app)  # store and secret come from LIMPET_SESSION_STORE and LIMPET_SECRET

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


@app.get("/")
def home() -> str:
    """Greet whoever is logged in."""
    if session.user_id is None:
        return page("You are logged out", LOG_IN)
    return page(f"Hello {escape(session.user_id)}", SHOP.format(cart=session.get("cart", 0)))


@app.post("/login")
def login() -> AnyResponse:
    """Log in under any name, given in the form or in the query."""
    session.login(request.values.get("name", "somebody"))
    return redirect("/", code=303)


@app.post("/cart")
def put_in_cart() -> AnyResponse:
    """Put a thing in the cart; two requests at once put in two."""
    if session.user_id is None:
        return Response("Please log in.\n", 403)
    session.incr("cart")
    return redirect("/", code=303)


@app.post("/logout")
def logout() -> AnyResponse:
    """End the session, on every server."""
    session.logout()
    return redirect("/", code=303)


@app.get("/slow")
def slow() -> Response:
    """Answer after some seconds, e.g. /slow?seconds=2."""
    time.sleep(min(float(request.args.get("seconds", "1")), 30))
    return Response("done\n", mimetype="text/plain")
