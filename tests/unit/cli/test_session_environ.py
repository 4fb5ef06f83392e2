"""What `limpet serve --session-store` hands to the app."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from limpet.cli.serve import _session_environ
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a secret that is long enough"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("LIMPET_SECRET", "LIMPET_SESSION_SECURE"):
        monkeypatch.delenv(name, raising=False)
    return f"sqlite:///{tmp_path}/sessions.db"


def test_a_store_a_secret_that_lasts_and_cookies_without_tls(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = _session_environ(store), _session_environ(store)
    assert first == second
    assert first["LIMPET_SESSION_STORE"] == store
    assert len(first["LIMPET_SECRET"]) >= 43
    assert first["LIMPET_SESSION_SECURE"] == "0"
    assert f"kept in {tmp_path}/state/limpet/session-secret" in capsys.readouterr().err


def test_what_is_given_is_kept(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMPET_SECRET", SECRET)
    monkeypatch.setenv("LIMPET_SESSION_SECURE", "1")
    environ = _session_environ(store)
    assert (environ["LIMPET_SECRET"], environ["LIMPET_SESSION_SECURE"]) == (SECRET, "1")
    assert capsys.readouterr().err == ""


def test_a_secret_that_cannot_be_kept_is_told(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("")
    _session_environ(store)
    assert "in memory only: a restart logs everyone out; set LIMPET_SECRET" in capsys.readouterr().err


def test_a_url_that_is_no_store_is_a_mistake(store: str) -> None:
    with pytest.raises(ConfigError, match="'best' is no kind of store"):
        _session_environ("best://x")
