from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.cli.serve import _session_environ

if TYPE_CHECKING:
    import pytest


def test_an_app_gets_the_store_and_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIMPET_SECRET", raising=False)
    assert _session_environ(None) == {}
    first, second = _session_environ("redis://x"), _session_environ("redis://x")
    assert first["LIMPET_SESSION_STORE"] == "redis://x"
    assert len(first["LIMPET_SECRET"]) >= 43
    assert first["LIMPET_SECRET"] != second["LIMPET_SECRET"]
    monkeypatch.setenv("LIMPET_SECRET", "known")
    assert _session_environ("redis://x")["LIMPET_SECRET"] == "known"
