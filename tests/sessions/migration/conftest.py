"""Lets these tests import the kit for framework tests, and the old apps that lie beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "frameworks")]
pytest.register_assert_rewrite("sites")


@pytest.fixture(scope="session")
def django_users(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Set up Django with the users 1 and 2, once in a process."""
    import django_project
    from django.conf import settings

    if not settings.configured:
        django_project.configure(str(tmp_path_factory.mktemp("django") / "db.sqlite3"))
        django_project.make_users()
