"""The same small app over every other library, with its real session code.

Routes: /login/<user>, /logout, /state; for Flask also /cart/<item>.
/state says who is logged in, and the field `cart`, which /login fills.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, session
from flask_session.redis import RedisSessionInterface
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware
from starsessions import SessionMiddleware as StarsessionsMiddleware
from starsessions.stores.redis import RedisStore

if TYPE_CHECKING:
    from starlette.requests import Request

SECRET_KEY = "a secret of the old app that is long enough"
CART = {"apples": 2, "codes": ["a", "b"]}


def add_flask_views(app: Flask) -> Flask:
    """Who is logged in is kept as Flask-Login does it."""

    @app.get("/login/<user>")
    def login(user: str) -> dict[str, Any]:
        session.permanent = True
        session["_user_id"] = user
        session["cart"] = CART
        return {}

    @app.get("/cart/<item>")
    def cart(item: str) -> dict[str, Any]:
        session["cart"] = {item: 1}
        return {}

    @app.get("/logout")
    def logout() -> dict[str, Any]:
        session.clear()
        return {}

    @app.get("/state")
    def state() -> dict[str, Any]:
        return {"user": session.get("_user_id"), "cart": session.get("cart")}

    return app


def flask_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = SECRET_KEY
    app.permanent_session_lifetime = timedelta(days=31)
    return add_flask_views(app)


def flask_session_app(client: Any, **options: Any) -> Flask:
    app = flask_app()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # use_signer
        app.session_interface = RedisSessionInterface(app, client, **options)
    return app


async def _login(request: Request) -> JSONResponse:
    request.session.update(user=request.path_params["user"], cart=CART)
    return JSONResponse({})


async def _logout(request: Request) -> JSONResponse:
    request.session.clear()
    return JSONResponse({})


async def _state(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.session.get("user"), "cart": request.session.get("cart")})


STARLETTE_ROUTES = [Route("/login/{user}", _login), Route("/logout", _logout), Route("/state", _state)]


def starlette_app() -> Starlette:
    return Starlette(
        routes=STARLETTE_ROUTES, middleware=[Middleware(SessionMiddleware, secret_key=SECRET_KEY)]
    )


def starsessions_app(client: Any) -> Starlette:
    return Starlette(
        routes=STARLETTE_ROUTES,
        middleware=[
            Middleware(
                StarsessionsMiddleware,
                store=RedisStore(connection=client),
                lifetime=30 * 86400,
                cookie_https_only=False,
            ),
            Middleware(SessionAutoloadMiddleware),
        ],
    )
