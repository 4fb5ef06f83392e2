"""Lets these tests import the kit for framework tests, and the doors that lie beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from doors import Door

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "frameworks")]
pytest.register_assert_rewrite("doors", "sites")
FRAMEWORKS = ["asgi", "wsgi", "flask", "flask-login", "django", "django-async"]


@pytest.fixture(scope="session")
def django_users(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set up Django with the users 1 and 2, once in a process."""
    import django_project
    from django.conf import settings

    if not settings.configured:
        django_project.configure(str(tmp_path_factory.mktemp("django") / "db.sqlite3"))
        django_project.make_users()


@pytest.fixture(params=FRAMEWORKS)
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    """A site with limpet's sessions, made with every framework in turn."""
    from doors import opened

    if request.param.startswith("django"):
        request.getfixturevalue("django_users")
    with opened(request.param) as door:
        yield door
