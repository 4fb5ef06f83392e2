"""`limpet check` as a pipeline runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from limpet.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]
COMMAND = str(Path(sys.executable).with_name("limpet"))
PAGE = (ROOT / "docs" / "doctor" / "check.md").read_text()


def test_the_example_in_memory_is_found_sick_and_reports_say_so(tmp_path: Path) -> None:
    junit, sarif = tmp_path / "check.xml", tmp_path / "check.sarif"
    done = subprocess.run(
        [
            COMMAND,
            "check",
            "examples.flask_memory:app",
            "--replicas",
            "2",
            "--json",
            "--junit",
            str(junit),
            "--sarif",
            str(sarif),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert done.stderr == ""
    assert (report["verdict"], report["findings"][0]["rule"]) == ("findings", "A1")
    lines = (ROOT / "examples" / "flask_memory.py").read_text().splitlines()
    line = next(number for number, each in enumerate(lines, 1) if each.startswith("logins:"))
    assert report["findings"][0]["location"] == {"path": "examples/flask_memory.py", "line": line}
    failed = [
        case.get("name") for case in ET.parse(junit).iter("testcase") if case.find("failure") is not None
    ]
    assert [str(name).split()[0] for name in failed] == ["A1"]
    (run,) = json.loads(sarif.read_text())["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "examples/flask_memory.py"


def test_ctrl_c_ends_everything_that_was_started() -> None:
    process = subprocess.Popen(
        [COMMAND, "check", "examples.flask_memory:app"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    stop = threading.Timer(180, process.kill)
    stop.start()
    try:
        assert process.stderr is not None
        assert any("refresh" in line for line in process.stderr)
        children = _children(process.pid)
        assert len(children) == 4
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130, rest
    finally:
        stop.cancel()
        process.kill()
        process.wait()
        process.stderr.close()
    assert "every process has ended" in rest
    assert not [pid for pid in children if _is_running(pid)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere:app"], "there is no module 'nowhere'"),
        (["examples.flask_memory:app", "--form", "login"], "--form login: is no path; begin with /"),
        (
            ["examples.flask_memory:app", "--password-env", "NO_SUCH"],
            "the environment has no NO_SUCH; set it",
        ),
        (
            ["examples.flask_memory:app", "--field", "x"],
            "--field x: is no field; write NAME=VALUE or NAME=@VAR",
        ),
        (["examples.flask_memory:app", "--setup", "a:b", "--django-user"], "give one of them"),
        (["examples.flask_memory:app", "--only", "Z9"], "there is no such rule"),
    ],
)
def test_mistakes_are_told(arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["check", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_the_page_tells_every_option() -> None:
    help_text = CliRunner().invoke(main, ["check", "--help"]).output
    told = set(re.findall(r"--[a-z][a-z-]+", PAGE)) - {"--idle", "--preload"}
    options = set(re.findall(r"--[a-z][a-z-]+", help_text))
    assert told <= options
    assert options - told <= {"--help", "--interface", "--replicas", "--password-env", "--verbose"}


def test_the_setup_of_the_page_works() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    make: Callable[[], Any] = names["ann"]
    assert list(make()) == [{"username": "ann", "password": "sesame"}]


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
