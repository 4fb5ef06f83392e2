"""A secret that limpet made is made once: another one would log everyone out."""

import stat

import pytest

from limpet.control.session_secret import (
    default_path,
    find_session_secret,
    load_session_secret,
    read_session_secret,
)
from limpet.errors import ConfigError


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LIMPET_SECRET", raising=False)


def test_without_any_one_is_made_and_found_again():
    first = load_session_secret()
    assert first.is_lasting
    assert len(first.text) >= 43
    assert load_session_secret() == first
    assert find_session_secret() == first
    assert stat.S_IMODE(default_path().stat().st_mode) == 0o600


def test_the_variable_comes_first_and_makes_no_file(monkeypatch):
    monkeypatch.setenv("LIMPET_SECRET", "a secret that is long enough")
    assert load_session_secret().text == find_session_secret().text == "a secret that is long enough"
    assert load_session_secret().origin == "$LIMPET_SECRET"
    assert not default_path().exists()


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("LIMPET_SECRET", " ")
    assert load_session_secret().origin == str(default_path())


def test_a_command_makes_none():
    with pytest.raises(ConfigError, match="there is none; give the app's in LIMPET_SECRET"):
        find_session_secret()
    assert not default_path().exists()


def test_where_no_file_can_be_kept_it_is_in_memory(monkeypatch, tmp_path):
    (tmp_path / "state").write_text("")
    loaded = load_session_secret()
    assert not loaded.is_lasting
    assert len(loaded.text) >= 43


def test_without_a_home_it_is_in_memory(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pathlib.Path.home", unknown)
    assert not load_session_secret().is_lasting


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 32])
def test_a_file_without_a_usable_secret_is_a_mistake_and_stays(content):
    path = default_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    for load in (load_session_secret, find_session_secret, lambda: read_session_secret(path)):
        with pytest.raises(ConfigError, match=r"sessions\.secret: .*; "):
            load()
    assert path.read_bytes() == content


def test_a_short_variable_is_a_mistake(monkeypatch):
    monkeypatch.setenv("LIMPET_SECRET", "short")
    for load in (load_session_secret, find_session_secret):
        with pytest.raises(ConfigError, match=r"sessions\.secret: LIMPET_SECRET: .*; "):
            load()
