"""docs/doctor/tutorial.md, run: sick as it says, and well after the fix that it shows."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from guides import PATH, TIMEOUT_S, Guide, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = Guide("docs/doctor/tutorial.md")
SITE = "127.0.0.1:8000"
_, GUNICORN, DOCTOR = GUIDE.commands("export SECRET_KEY")
KEY = "app.secret_key = secrets.token_hex()"
ENVIRONMENT = os.environ | {"PATH": PATH, "PROBE_PASSWORD": "sesame", "SECRET_KEY": "of the test"}


@contextmanager
def gunicorn(shop: str, folder: Path) -> Iterator[str]:
    """Run a shop as the tutorial does; the value is HOST:PORT."""
    (folder / "shop.py").write_text(shop)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts from now on; the workers answer
        command = replaced(GUNICORN, {SITE: f"fd://{listener.fileno()}"})
        process = subprocess.Popen(
            [*command.split(), "--no-control-socket"],
            cwd=folder,
            env=ENVIRONMENT,
            pass_fds=[listener.fileno()],
        )
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def report(command: str, folder: Path) -> Any:
    """Run one of the tutorial's commands and return what it reports."""
    done = subprocess.run(
        [*command.split(), "--json"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        timeout=180,
        check=False,
    )
    found = json.loads(done.stdout)
    assert done.returncode == (found["verdict"] == "findings"), found
    return found


@pytest.mark.parametrize(("is_fixed", "rules"), [(False, ["A3"]), (True, [])])
def test_a_site_that_runs(is_fixed: bool, rules: list[str], tmp_path: Path) -> None:
    shop = GUIDE.block(KEY)
    if is_fixed:
        imported, line = GUIDE.block("import os\n").split("\n\n")
        shop = replaced(shop, {"import secrets": imported, KEY: line.strip()})
    with gunicorn(shop, tmp_path) as site:
        findings = report(replaced(DOCTOR, {SITE: site}), tmp_path)["findings"]
    assert [each["rule"] for each in findings] == rules


def test_an_app_before_it_runs(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(GUIDE.block("logins = {}"))
    (command,) = GUIDE.commands("ERROR  A1")
    found = report(command, tmp_path)["findings"][0]
    assert (found["rule"], found["location"]) == ("A1", {"path": "shop.py", "line": 6})


def test_the_app_with_two_lines(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(GUIDE.block("LimpetSessions(app)\n\n"))
    (command,) = GUIDE.commands("0 of 70 page loads")
    assert report(command, tmp_path)["verdict"] == "ok"
