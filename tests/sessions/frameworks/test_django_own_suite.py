"""Django's own session tests, from the source distribution of the Django that is installed.

They are fetched with pip and never become part of this project. A test that limpet does not pass
stands in DEVIATIONS with its reason, and in docs/sessions/django.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

PROGRAM = Path(__file__).with_name("django_own_suite.py")
TIMEOUT_S = 180
_KEY = "what limpet did not sign is no key: code that names things by the key cannot be fed one by a client"
DEVIATIONS = {
    "Engine.test_session_key_valid_string_saved": _KEY,
    "EngineWithTimeZone.test_session_key_valid_string_saved": _KEY,
    "LimpetsMiddleware.test_save_every_request_with_non_empty_session_renews_session_cookie": (
        "the cookie lives as long as the session may, so it is not set again; the visit is written down"
    ),
}


@pytest.fixture(scope="session")
def sessions_tests(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with Django's package of session tests; the download is kept for the next run."""
    kept = pytestconfig.cache.mkdir(f"django-{django.__version__}")
    if not (kept / "sessions_tests").is_dir():
        archive = _download(tmp_path_factory.mktemp("django-sdist"))
        unpacked = tmp_path_factory.mktemp("django-tests")
        with tarfile.open(archive) as tar:
            wanted = [each for each in tar.getmembers() if "/tests/sessions_tests/" in each.name]
            tar.extractall(unpacked, wanted, filter="data")
        (found,) = unpacked.glob("*/tests/sessions_tests")
        shutil.copytree(found, kept / "sessions_tests", dirs_exist_ok=True)
    return Path(kept)


def _download(folder: Path) -> Path:
    requirement = f"django=={django.__version__}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "django"]
    fetched = subprocess.run(
        [*command, "--dest", folder, requirement],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    archives = list(folder.glob("*.tar.gz"))
    assert archives, (
        f"these tests need the source distribution of {requirement}, which pip could not fetch:\n"
        f"{fetched.stdout[-1000:]}{fetched.stderr[-1000:]}"
    )
    return archives[0]


@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_djangos_own_session_tests(
    kind: str, sessions_tests: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store_url = f"sqlite:///{tmp_path}/sessions.db"
    if kind == "valkey":
        store_url = f"valkey://127.0.0.1:{request.getfixturevalue('valkey').port}"
    results = tmp_path / "results.json"
    run = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, sessions_tests, store_url, results],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    by_test = json.loads(results.read_text())
    failed = {test: why for test, why in by_test.items() if why != "passed" and test not in DEVIATIONS}
    assert not failed, "\n".join(f"{test}: {why[-500:]}" for test, why in failed.items())
    assert len(by_test) > 150
    assert {test for test in DEVIATIONS if by_test[test] == "passed"} == set(), "no deviation any more"
