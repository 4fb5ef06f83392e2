"""Addresses of listeners and targets."""

import pytest

from limpet.core.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80), "127.0.0.1:80"),
        ("http://127.0.0.1:80", Address("127.0.0.1", 80), "127.0.0.1:80"),
        ("http://shop.example:8080/", Address("shop.example", 8080), "shop.example:8080"),
        ("[::1]:80", Address("::1", 80), "[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:80", Address("::1", 80), "[::1]:80"),
        ("[FE80::A]:80", Address("fe80::a", 80), "[fe80::a]:80"),
        ("Shop_1.Example:80", Address("shop_1.example", 80), "shop_1.example:80"),
        (":8080", Address("0.0.0.0", 8080), "0.0.0.0:8080"),
        ("unix:/run/a.sock", Address(path="/run/a.sock"), "unix:/run/a.sock"),
        ("unix:///run/a.sock", Address(path="/run/a.sock"), "unix:/run/a.sock"),
    ],
)
def test_parse(text, address, shown):
    assert parse_address(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "a:b",
        "a:70000",
        "a:-1",
        "::1:80",
        "[::1:80",
        "[]:80",
        "a b:80",
        "a..b:80",
        ".a:80",
        f"{'x' * 64}.example:80",
        "https://a",
        "unix:rel",
        "http://u@h:1",
    ],
)
def test_a_mistake_is_said_with_its_cure(text):
    with pytest.raises(ValueError, match="; "):
        parse_address(text)


def test_tls():
    address = parse_address("https://Shop.example", default_port=80)
    assert address == Address("shop.example", 443, is_tls=True)
    assert (str(address), address.host_header) == ("https://shop.example:443", "shop.example:443")
    assert parse_address("https://[::1]:8443/", default_port=80) == Address("::1", 8443, is_tls=True)


def test_a_default_port():
    assert parse_address("shop.example", default_port=80) == Address("shop.example", 80)
