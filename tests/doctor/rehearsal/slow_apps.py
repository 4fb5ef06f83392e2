"""Apps of frameworks that write a session back whether they changed it or not, and one that does not."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from flask import Flask, redirect, request, session
from flask.sessions import SessionInterface, SessionMixin


class Kept(dict, SessionMixin):
    def __init__(self, sid, values):
        super().__init__(values)
        self.sid = sid


class Files(SessionInterface):
    """One file for each session; a login keeps the id, and every request writes."""

    def _path(self, sid):
        return Path(os.environ["SITE_FOLDER"]) / f"f-{sid}"

    def open_session(self, app, request):
        sid = request.cookies.get("sid", "")
        try:
            return Kept(sid, json.loads(self._path(sid).read_text()))
        except (OSError, ValueError):
            return Kept(secrets.token_hex(8), {})

    def save_session(self, app, session, response):
        new = self._path(f"{session.sid}.{secrets.token_hex(4)}")
        new.write_text(json.dumps(dict(session)))
        new.replace(self._path(session.sid))
        response.set_cookie("sid", session.sid, httponly=True, samesite="Lax")


def make(*, writes_always):
    app = Flask(__name__)
    app.secret_key = "the same everywhere"
    if writes_always:
        app.session_interface = Files()

    @app.get("/")
    def home():
        name = session.get("name")
        return f"Hello {name}" if name else "Nobody"

    @app.route("/login", methods=["GET", "POST"])
    def login():
        if request.method == "POST":
            session["name"] = request.form["name"]
            return redirect("/")
        return '<form method="post"><input name="name"><button>log in</button></form>'

    return app


def write_back():
    return make(writes_always=True)


def signed_cookie():
    return make(writes_always=False)
