"""Applications with something to guard: each answers SECRET for `/admin` and below, as it reads paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

SECRET = "SECRET"

flask = Flask(__name__)


@flask.route("/admin")
@flask.route("/admin/")
@flask.route("/admin/<path:rest>")
def guarded(rest: str = "") -> str:
    return SECRET + rest[:0]


@flask.route("/")
@flask.route("/<path:rest>")
def other(rest: str = "") -> str:
    return "open" + rest[:0]


async def _guarded(_: Request) -> PlainTextResponse:
    return PlainTextResponse(SECRET)


async def _other(_: Request) -> PlainTextResponse:
    return PlainTextResponse("open")


starlette = Starlette(
    routes=[
        Route("/admin", _guarded),
        Route("/admin/{rest:path}", _guarded),
        Route("/{rest:path}", _other),
    ]
)
