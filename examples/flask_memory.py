"""A Flask app that keeps its logins in the memory of its process.

Run five copies of it, and each knows only those who logged in there:

    limpet serve examples.flask_memory:app --stickiness off     # reload the page: you are logged out
    limpet serve examples.flask_memory:app                      # reload the page: you stay logged in
"""

import os
import secrets
import time
from html import escape

from flask import Flask, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

app = Flask(__name__)
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


@app.get("/")
def home() -> str:
    """Greet whoever this copy of the app knows."""
    return page(logins.get(request.cookies.get("sid", "")))


@app.post("/login")
def login() -> AnyResponse:
    """Log in under any name, given in the form or in the query."""
    sid = secrets.token_urlsafe()
    logins[sid] = request.values.get("name", "somebody")
    response = redirect("/", code=303)
    response.set_cookie("sid", sid, httponly=True, samesite="Lax")
    return response


@app.post("/logout")
def logout() -> AnyResponse:
    """Forget the login, here and in the browser."""
    logins.pop(request.cookies.get("sid", ""), None)
    response = redirect("/", code=303)
    response.delete_cookie("sid")
    return response


@app.get("/slow")
def slow() -> Response:
    """Answer after some seconds, e.g. /slow?seconds=2."""
    time.sleep(min(float(request.args.get("seconds", "1")), 30))
    return Response("done\n", mimetype="text/plain")
