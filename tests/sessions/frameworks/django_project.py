"""A small Django project: the routes of the overlap matrix, blocking and not, and Django's admin.

It has no settings module: `configure` is called once in a process, and tests override what they vary.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.test import override_settings
from overlap import Gate
from sites import AsgiSite, WsgiSite

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = "limpet.sessions.django"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
LIMPETS = "limpet.sessions.django.SessionMiddleware"
PASSWORD = "a password of the test"

#: The test's gate, for the slow routes.
gate = Gate()
urlpatterns: list[Any] = []


def middleware(sessions: str) -> list[str]:
    return [
        sessions,
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]


def new_gate() -> Gate:
    """Return the gate of a test; the views hold it."""
    global gate  # noqa: PLW0603  # views are found by their path and take no arguments of ours
    gate = Gate()
    return gate


@contextmanager
def wsgi(**changes: Any) -> Iterator[WsgiSite]:
    """Serve the project with threads."""
    from django.core.handlers.wsgi import WSGIHandler

    from limpet.sessions.django import sessions

    with override_settings(**changes):
        with WsgiSite(WSGIHandler()) as site:
            yield site
        if settings.SESSION_ENGINE == ENGINE:
            sessions().close()


@contextmanager
def asgi(**changes: Any) -> Iterator[AsgiSite]:
    """Serve the project in an event loop."""
    from django.core.handlers.asgi import ASGIHandler

    from limpet.sessions.django import sessions

    with override_settings(**changes), AsgiSite(ASGIHandler(), on_close=sessions().aclose) as site:
        yield site


def configure(database: str, **changes: Any) -> None:
    """Set Django up with an empty database and the users 1 and 2, who may use the admin."""
    base = {
        "SECRET_KEY": "a secret of the test that is long enough",
        "ALLOWED_HOSTS": ["*"],
        "ROOT_URLCONF": __name__,
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "INSTALLED_APPS": [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "limpet.sessions.django",
        ],
        "MIDDLEWARE": middleware(LIMPETS),
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "SESSION_ENGINE": ENGINE,
        "LIMPET_SESSION_DEADLINE_S": 10.0,
        "STATIC_URL": "static/",
        "USE_TZ": True,
        "LOGGING_CONFIG": None,
    }
    settings.configure(**{**base, **changes})
    django.setup()
    _add_routes()


def make_users() -> None:
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for pk in (1, 2):
        User.objects.create_superuser(f"user{pk}", password=PASSWORD, pk=pk)


def _add_routes() -> None:
    from django.contrib import admin
    from django.urls import path

    urlpatterns.append(path("admin/", admin.site.urls))
    for module in ("django_views", "django_async_views"):
        views = __import__(module)
        prefix = "" if module == "django_views" else "async/"
        urlpatterns.extend(path(prefix + route, view) for route, view in views.ROUTES.items())
