"""Keys: reading them, and never showing them."""

import base64

import pytest

from limpet.core.key_ring import KeyRing, generate_key, parse_key_ring
from limpet.errors import KeyRingError

KEY = b"k" * 32
OTHER = b"o" * 32


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        KEY.hex(),
        f"# newest first\n\n{KEY.hex()}  # made in May\n",
    ],
)
def test_one_key(text):
    assert parse_key_ring(text) == KeyRing([KEY])


@pytest.mark.parametrize("separator", ["\n", ",", " ", "\r\n"])
def test_the_first_key_is_the_newest(separator):
    ring = parse_key_ring(KEY.hex() + separator + OTHER.hex())
    assert ring.newest_id == KeyRing([KEY]).newest_id
    assert ring.ids == KeyRing([OTHER, KEY]).ids


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no key"),
        ("# only this", "there is no key"),
        (f"{KEY.hex()}\nshort", "line 2"),
        ("\n!!!", "line 2"),
    ],
)
def test_a_mistake_is_named_and_the_key_is_not_shown(text, said):
    with pytest.raises(KeyRingError) as caught:
        parse_key_ring(text)
    assert said in str(caught.value)
    assert "openssl rand -base64 32" in str(caught.value)
    assert KEY.hex() not in str(caught.value)


def test_a_ring_does_not_show_its_keys():
    shown = repr(KeyRing([KEY]))
    assert KEY.hex() not in shown
    assert "kkkk" not in shown


def test_a_generated_key_is_a_line_of_a_key_file():
    assert parse_key_ring(generate_key(lambda n: b"k" * n)) == KeyRing([KEY])


def test_keys_of_another_length_are_refused():
    with pytest.raises(KeyRingError):
        KeyRing([b"short"])
