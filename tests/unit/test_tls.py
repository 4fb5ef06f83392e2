"""Which certificate a name gets."""

import pytest

from limpet.core.tls import KeyPair, by_name, find_pair


def pair(*names):
    return KeyPair(chain=b"", key=b"", names=names, not_before_s=0, not_after_s=1)


PAIRS = (pair("a.example", "*.b.example"), pair("*.b.example", "c.b.example", "127.0.0.1"), pair("b.example"))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("a.example", 0),
        ("A.Example.", 0),
        ("x.b.example", 0),
        ("c.b.example", 1),
        ("b.example", 2),
        ("x.c.b.example", None),
        (".b.example", None),
        ("*.b.example", 0),
        ("example", None),
        ("", None),
    ],
)
def test_the_exact_name_comes_before_a_wildcard_and_the_first_before_others(name, number):
    assert find_pair(by_name(PAIRS), name) == number


def test_a_key_is_not_shown():
    shown = repr(KeyPair(chain=b"CHAIN", key=b"SECRET", names=("a",), not_before_s=0, not_after_s=1))
    assert "SECRET" not in shown
