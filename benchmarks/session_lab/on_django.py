"""Sessions under Django: its cache engine over its own Redis cache, and limpet's."""

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

from session_lab import views
from session_lab.site import Site, WsgiSite

_USER = "_auth_user_id"


class NoSessions:
    """Gives a request a mapping that costs nothing."""

    def __init__(self, get_response: Any) -> None:
        self._get_response = get_response

    def __call__(self, request: Any) -> Any:
        """Answer a request."""
        request.session = {_USER: "1", **views.FIELDS}
        return self._get_response(request)


def home(request: Any) -> HttpResponse:
    return HttpResponse(views.home(request.session, _USER))


def untouched(_request: Any) -> HttpResponse:
    return HttpResponse("untouched")


def read(request: Any) -> HttpResponse:
    return HttpResponse(views.read(request.session, _USER))


def write(request: Any) -> HttpResponse:
    return HttpResponse(views.write(request.session))


def visit(request: Any) -> HttpResponse:
    return HttpResponse(views.visit(request.session))


def log_in(request: Any) -> HttpResponse:
    from django.contrib.auth import login  # noqa: PLC0415  # models need settings
    from django.contrib.auth.models import User  # noqa: PLC0415

    if not isinstance(request.session, dict):
        user = User(pk=int(request.GET["user"]), username="ann", password="!")
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        request.session.update(views.FIELDS)
    return HttpResponse("logged in")


urlpatterns = [
    path("home", home),
    path("untouched", untouched),
    path("read", read),
    path("write", write),
    path("visit", visit),
    path("login", log_in),
]


def sites(port: int) -> dict[str, Site]:
    """Return the sites by the name of who keeps their sessions."""
    url = f"redis://127.0.0.1:{port}/0"
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}},
        ROOT_URLCONF=__name__,
        SECRET_KEY=views.SECRET,
        SESSION_COOKIE_SECURE=True,
        LIMPET_SESSION_STORE=url,
    )
    django.setup()
    _leave_the_database_alone()
    return {
        views.BASELINE: _site(f"{__name__}.NoSessions"),
        "limpet": _site("limpet.sessions.django.SessionMiddleware", "limpet.sessions.django"),
        "Django cache": _site(
            "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.sessions.backends.cache"
        ),
    }


def _site(middleware: str, engine: str = "") -> WsgiSite:
    from django.core.handlers.wsgi import WSGIHandler  # noqa: PLC0415

    settings.MIDDLEWARE, settings.SESSION_ENGINE = [middleware], engine
    return WsgiSite(WSGIHandler())  # which reads the settings now


def _leave_the_database_alone() -> None:
    from django.contrib.auth.signals import user_logged_in  # noqa: PLC0415

    user_logged_in.disconnect(dispatch_uid="update_last_login")
