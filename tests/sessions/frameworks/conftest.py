"""Lets the tests of this folder import the kit that lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("asgi_apps", "overlap", "sites")


@pytest.fixture(scope="session")
def django_users(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set up Django with the users 1 and 2, once in a process."""
    import django_project
    from django.conf import settings

    if not settings.configured:
        django_project.configure(str(tmp_path_factory.mktemp("django") / "db.sqlite3"))
        django_project.make_users()
