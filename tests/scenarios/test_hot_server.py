"""The benchmark of a hot server runs, in its tiniest form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
#: 30 users log in, then 3 s of 50 requests a second: a busy machine is to be fast enough.
TINY = {"users": 30, "utilisation": 0.1, "calm": 1, "settle": 1, "windows": 1, "window": 1}


def test_a_fifth_target_comes_up(tmp_path) -> None:
    figures, drawn = tmp_path / "figures.json", tmp_path / "load.svg"
    command = [sys.executable, str(ROOT / "benchmarks" / "hot_server.py")]
    command += ["--systems=limpet-portable", "--scenarios=added", f"--json={figures}", f"--draw={drawn}"]
    command += [f"--{name}={value}" for name, value in TINY.items()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [run] = json.loads(figures.read_text())["runs"]
    assert (run["system"], run["scenario"]) == ("limpet-portable", "added")
    assert run["requests"] > 100
    assert run["errors"] == 0, run["faults"]
    assert run["logouts"] == 0
    assert run["store_commands_per_request"] is not None
    assert 0 < sum(map(sum, run["served"].values())) <= run["requests"]
    assert ET.parse(drawn).getroot().tag.endswith("svg")
