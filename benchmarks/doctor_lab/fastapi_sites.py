"""Two sites of FastAPI with JSON: sessions of Starlette's middleware, with one key or one per process."""

from __future__ import annotations

import secrets

from fastapi import FastAPI, HTTPException, Request
from starlette.middleware.sessions import SessionMiddleware


def build(key: str) -> FastAPI:
    """Return an app that signs its sessions with a key."""
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key=key)

    @app.post("/login")
    async def login(request: Request) -> dict[str, str]:
        given = await request.json()
        if given["password"] != "correct-horse":
            raise HTTPException(401)
        request.session["user"] = given["username"]
        return {"user": given["username"]}

    @app.get("/")
    async def who(request: Request) -> dict[str, str | None]:
        return {"user": request.session.get("user")}

    return app


own_key = build(secrets.token_hex(16))
one_key = build("the same everywhere")
