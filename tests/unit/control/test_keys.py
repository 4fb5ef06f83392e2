"""Where ticket keys come from."""

import stat
import threading

import pytest

from limpet.config.schema import KeySettings
from limpet.control.keys import default_path, load_keys
from limpet.core.key_ring import KeyRing
from limpet.errors import ConfigError

KEY = "6b" * 32


@pytest.fixture(autouse=True)
def own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("LIMPET_TICKET_KEYS", raising=False)


def test_the_variable_comes_before_the_file(monkeypatch, tmp_path):
    file = tmp_path / "keys"
    file.write_text("6f" * 32)
    monkeypatch.setenv("LIMPET_TICKET_KEYS", KEY)
    assert load_keys(KeySettings(file=file)).ring == KeyRing([b"k" * 32])
    monkeypatch.delenv("LIMPET_TICKET_KEYS")
    assert load_keys(KeySettings(file=file)).ring == KeyRing([b"o" * 32])


def test_without_any_a_file_is_made_once_and_only_for_its_owner():
    first = load_keys(KeySettings())
    assert first.is_lasting
    assert load_keys(KeySettings()).ring == first.ring
    assert stat.S_IMODE(default_path().stat().st_mode) == 0o600


def test_two_that_start_at_once_share_a_key():
    rings = []
    barrier = threading.Barrier(8)

    def start():
        barrier.wait()
        rings.append(load_keys(KeySettings()).ring)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 8
    assert all(ring == rings[0] for ring in rings)


def test_where_no_file_can_be_kept_the_key_is_in_memory(monkeypatch, tmp_path):
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(blocked))
    loaded = load_keys(KeySettings())
    assert not loaded.is_lasting
    assert loaded.origin == "memory"


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_configured_file_without_keys_is_a_mistake(tmp_path, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match="; "):
        load_keys(KeySettings(file=file))
    assert not default_path().exists()


def test_without_a_home_the_key_is_in_memory(monkeypatch):
    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pathlib.Path.home", unknown)
    assert not load_keys(KeySettings()).is_lasting


@pytest.mark.parametrize("is_configured", [True, False])
def test_a_file_that_is_no_text_is_a_mistake(is_configured):
    path = default_path()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="; "):
        load_keys(KeySettings(file=path if is_configured else None))
