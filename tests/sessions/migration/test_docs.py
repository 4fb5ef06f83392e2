"""What docs/sessions/migration.md shows: every source is there, and the code for "after" runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

from limpet.sessions import migration

PAGE = Path(__file__).parents[3] / "docs/sessions/migration.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
AFTER = [block for block in BLOCKS if block.startswith("# after") and "app = " in block]


@pytest.mark.parametrize("code", AFTER)
def test_the_code_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMPET_SESSION_STORE", "memory://")
    monkeypatch.setenv("LIMPET_SECRET", "a secret for tests that is long enough")
    names: dict[str, Any] = {
        "__name__": __name__,
        "Flask": Flask,
        "FastAPI": FastAPI,
        "SECRET": "x" * 32,
        "SECRET_KEY": "y" * 32,
    }
    exec(compile(code, str(PAGE), "exec"), names)


def test_every_source_is_told() -> None:
    assert len(AFTER) == 5
    text = PAGE.read_text()
    for source in migration.SOURCES.values():
        engine = getattr(source, "engine", None)
        assert f"django.contrib.sessions.backends.{engine}" in text or source.__name__ in text
