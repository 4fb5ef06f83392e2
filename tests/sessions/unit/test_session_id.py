from __future__ import annotations

import base64
import os

import pytest

from limpet.errors import KeyRingError
from limpet.sessions.record import EndReason
from limpet.sessions.session_id import MAX_TIME_S, SecretRing, SessionId, parse_secrets

OLD, NEW = "the old secret, long enough", "the new secret, long enough"
NOW_S = 1_800_000_000.0


def new_id(ring: SecretRing, user_key: str = "", ends_s: float = NOW_S + 100) -> SessionId:
    return ring.new_id(user_key=user_key, issued_s=NOW_S, ends_s=ends_s, entropy=os.urandom)


@pytest.mark.parametrize("user_key", ["", "0f" * 16])
def test_what_is_signed_is_read(user_key: str) -> None:
    ring = SecretRing([NEW])
    session_id = new_id(ring, user_key)
    assert ring.read(ring.sign(session_id), NOW_S) == session_id
    assert len(session_id.raw) == 32


def test_the_newest_secret_signs_and_all_verify() -> None:
    old, both, new = SecretRing([OLD]), SecretRing([NEW, OLD]), SecretRing([NEW])
    session_id = new_id(old)
    signed_by_old = old.sign(session_id)
    read = both.read(signed_by_old, NOW_S)
    assert isinstance(read, SessionId)
    assert (read.raw, read.is_newest_key) == (session_id.raw, False)
    assert both.read(new.sign(session_id), NOW_S) == session_id
    assert both.sign(session_id) == new.sign(session_id)
    assert new.read(signed_by_old, NOW_S) is EndReason.UNKNOWN_KEY


def test_every_changed_character_is_noticed() -> None:
    ring = SecretRing([NEW])
    value = ring.sign(new_id(ring, "ab" * 16))
    for at in range(2, len(value)):
        other = "A" if value[at] != "A" else "B"
        assert ring.read(value[:at] + other + value[at + 1 :], NOW_S) in (
            EndReason.BAD_SIGNATURE,
            EndReason.UNKNOWN_KEY,
        )


@pytest.mark.parametrize(
    "value", ["", "1.", "attacker-chosen", "1." + "A" * 123, "2." + "A" * 123, "1.é" + "A" * 122, "x" * 5000]
)
def test_a_client_cannot_choose_an_id(value: str) -> None:
    assert isinstance(SecretRing([NEW]).read(value, NOW_S), EndReason)


def test_one_id_has_one_spelling() -> None:
    ring = SecretRing([NEW])
    value = ring.sign(new_id(ring))
    for other in (
        value + "=",
        value + "A",
        " " + value,
        value.replace("-", "+").replace("_", "/") + "\n",
        value[:-1],
    ):
        assert ring.read(other, NOW_S) is EndReason.BAD_SIGNATURE


def test_the_hash_that_a_store_holds_opens_nothing() -> None:
    ring = SecretRing([NEW])
    session_id = new_id(ring)
    key = session_id.key.session
    assert session_id.raw.hex() not in key
    leaked = session_id._replace(raw=bytes.fromhex(key))
    forged = SecretRing(["an attacker's own secret"]).sign(leaked)
    assert isinstance(ring.read(forged, NOW_S), EndReason)
    assert isinstance(ring.read(key, NOW_S), EndReason)


def test_the_absolute_end_is_in_the_cookie() -> None:
    ring = SecretRing([NEW])
    value = ring.sign(new_id(ring, ends_s=NOW_S + 100))
    assert isinstance(ring.read(value, NOW_S + 99), SessionId)
    assert ring.read(value, NOW_S + 100) is EndReason.ABSOLUTE
    assert new_id(ring, ends_s=1e12).ends_s == MAX_TIME_S


def test_a_successor_is_the_same_everywhere_and_a_secret() -> None:
    here, there, other = SecretRing([NEW]), SecretRing([NEW, OLD]), SecretRing([OLD])
    old = new_id(here)
    made = {
        ring.successor(old, user_key="", issued_s=NOW_S, ends_s=NOW_S + 9).raw
        for ring in (here, there, other)
    }
    assert len(made) == 2
    assert old.raw not in made


def test_user_keys_and_references_depend_on_the_secret() -> None:
    both, new = SecretRing([NEW, OLD]), SecretRing([NEW])
    assert both.user_keys(b"ann") == new.user_keys(b"ann") + SecretRing([OLD]).user_keys(b"ann")
    assert len(set(both.user_keys(b"ann") + both.user_keys(b"bob"))) == 4
    key = new_id(new).key
    assert new.reference(key) != SecretRing([OLD]).reference(key)


@pytest.mark.parametrize("secrets", [[], [""], ["short"], [NEW, "short"]])
def test_short_secrets_are_refused(secrets: list[str]) -> None:
    with pytest.raises(KeyRingError, match="openssl rand"):
        SecretRing(secrets)


def test_secrets_are_read_from_a_variable_and_never_shown() -> None:
    one, two = (base64.b64encode(os.urandom(32)).decode() for _ in "ab")
    ring = parse_secrets(f" {one},\n{two} ")
    assert ring.sign(session_id := new_id(ring)) == SecretRing([one]).sign(session_id)
    assert one not in repr(ring)
