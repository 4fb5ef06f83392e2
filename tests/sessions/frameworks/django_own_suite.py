"""Run the session tests of Django's source distribution over limpet; a program of its own.

    python django_own_suite.py FOLDER_WITH_SESSIONS_TESTS STORE_URL RESULTS.json

It writes {test: "passed" or the last line of what went wrong}.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from unittest import mock


def main(folder: str, store_url: str, results: str) -> None:
    sys.path.insert(0, folder)
    configure(store_url)
    from django.conf import settings
    from django.test.utils import get_runner

    runner = get_runner(settings)(verbosity=0, interactive=False)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    outcome = Outcome()
    try:
        suite().run(outcome)
    finally:
        runner.teardown_databases(databases)
        runner.teardown_test_environment()
    Path(results).write_text(json.dumps(outcome.by_test))


def configure(store_url: str) -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="a secret of the test that is long enough",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "sessions_tests",
        ],
        SESSION_ENGINE="limpet.sessions.django",
        LIMPET_SESSION_STORE=store_url,
        LIMPET_SESSION_DEADLINE_S=5.0,
        USE_TZ=False,
    )
    django.setup()


def suite() -> unittest.TestSuite:
    from django.test import SimpleTestCase, override_settings
    from sessions_tests import tests

    from limpet.sessions.django import SessionMiddleware, SessionStore

    class Engine(tests.SessionTestsMixin, SimpleTestCase):
        backend = SessionStore

    @override_settings(USE_TZ=True)
    class EngineWithTimeZone(Engine):
        pass

    class DjangosMiddleware(tests.SessionMiddlewareTests):
        middleware = tests.SessionMiddleware

        def setUp(self):
            super().setUp()
            # One test looks into the table of Django's own engine.
            self.replace("Session", Table)
            self.replace("SessionMiddleware", self.middleware)

        def replace(self, name, replacement):
            replaced = mock.patch.object(tests, name, replacement)
            replaced.start()
            self.addCleanup(replaced.stop)

    class LimpetsMiddleware(DjangosMiddleware):
        middleware = SessionMiddleware

    found = unittest.TestSuite()
    for case in (Engine, EngineWithTimeZone, DjangosMiddleware, LimpetsMiddleware):
        found.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return found


class Table:
    """What the test asks of the model of Django's own engine, answered by limpet's store."""

    class objects:  # noqa: N801  # the name of Django's managers
        @staticmethod
        def get(session_key):
            return Row(session_key)


class Row:
    def __init__(self, session_key):
        self.session_key = session_key

    def get_decoded(self):
        from limpet.sessions.django import SessionStore

        return SessionStore(self.session_key).load()


class Outcome(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.by_test = {}

    def addSuccess(self, test):  # noqa: N802  # the names of unittest
        super().addSuccess(test)
        self.by_test[name_of(test)] = "passed"

    def addFailure(self, test, err):  # noqa: N802
        super().addFailure(test, err)
        self.by_test[name_of(test)] = self.failures[-1][1]

    def addError(self, test, err):  # noqa: N802
        super().addError(test, err)
        self.by_test[name_of(test)] = self.errors[-1][1]

    def addSkip(self, test, reason):  # noqa: N802
        super().addSkip(test, reason)
        self.by_test[name_of(test)] = f"skipped: {reason}"


def name_of(test):
    return ".".join(test.id().split(".")[-2:])


if __name__ == "__main__":
    main(*sys.argv[1:])
