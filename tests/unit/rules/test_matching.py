"""Which rule a request matches: every condition, the order, and the index that speeds it up."""

import sys
from pathlib import Path

import pytest

import limpet.core.rules.actions
import limpet.core.rules.conditions
from limpet.core.rules.actions import ACTIONS
from limpet.core.rules.conditions import CONDITIONS
from limpet.errors import ErrorKind, ProtocolError

sys.path.insert(0, str(Path(__file__).parent))

from kit import request, table

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("places", "kinds"), [(limpet.core.rules.conditions, CONDITIONS), (limpet.core.rules.actions, ACTIONS)]
)
def test_every_file_is_in_its_table_under_its_own_name(places, kinds):
    files = {path.stem for path in Path(places.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(kinds)
    text = (DOCS / "rules.md").read_text()
    for name in kinds:
        assert f"`{name}`" in text


def matches(conditions, **asked):
    rule = table([{"forward": "api", **conditions}]).find(request(**asked))
    return rule is not None


@pytest.mark.parametrize(
    ("pattern", "host", "is_match"),
    [
        ("shop.example", "shop.example", True),
        ("shop.example", "SHOP.example:8080", True),
        ("Shop.Example", "shop.example.", True),
        ("shop.example", "shop.example.:80", True),
        ("shop.example", "shop%2eexample", True),
        ("shop.example.", "shop.example", True),
        ("shop.example", "shop.example..", True),
        ("shop.example", "shop.example" * 50, False),
        ("shop.example", "ashop.example", False),
        ("shop.example", "shop.example.evil.test", False),
        ("shop.example", "", False),
        ("*", "", False),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("?.example", "a.example", True),
        ("?.example", "ab.example", False),
        ("[::1]", "[::1]:80", True),
    ],
)
def test_host(pattern, host, is_match):
    assert matches({"host": pattern}, host=host) is is_match


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("/a", "/a", True),
        ("/a", "/A?b", True),
        ("/a", "/a/", False),
        ("/a", "/ab", False),
        ("/a*", "/a/b/c", True),
        ("/*/c", "/a/b/c", True),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("*.php", "/x/y.PHP", True),
        ("/[ab]", "/a", False),
        ("/[ab]", "/[ab]", True),
        ("/a b", "/a%20b", True),
        ("/café", "/caf%C3%A9", True),
        ("/a", "/%61", True),
    ],
)
def test_path(pattern, path, is_match):
    assert matches({"path": pattern}, path=path) is is_match


@pytest.mark.parametrize(
    ("prefix", "path", "is_match"),
    [
        ("/admin", "/admin", True),
        ("/admin", "/admin/", True),
        ("/admin", "/Admin/x?y", True),
        ("/admin/", "/admin", True),
        ("/admin", "/administrator", False),
        ("/admin", "/x/admin", False),
        ("/", "/anything", True),
        ("/", "/", True),
    ],
)
def test_path_prefix(prefix, path, is_match):
    assert matches({"path_prefix": prefix}, path=path) is is_match


@pytest.mark.parametrize(
    ("wanted", "headers", "is_match"),
    [
        ({"X-A": "1"}, [("x-a", "1")], True),
        ({"X-A": "1"}, [("x-a", "2"), ("x-a", "1")], True),
        ({"X-A": "1"}, [("x_a", "1")], True),
        ({"X-A": "1"}, [], False),
        ({"X-A": ["1", "Y*"]}, [("x-a", "yes")], True),
        ({"X-A": "1", "X-B": "2"}, [("x-a", "1")], False),
        ({"X-A": "1", "X-B": "2"}, [("x-a", "1"), ("x-b", "2")], True),
        ({"X-A": "*"}, [("x-a", "")], True),
    ],
)
def test_header(wanted, headers, is_match):
    assert matches({"header": wanted}, headers=headers) is is_match


@pytest.mark.parametrize(
    ("wanted", "path", "is_match"),
    [
        ({"v": "2"}, "/?v=2", True),
        ({"v": "2"}, "/?V=2&v=3", True),
        ({"v": "2"}, "/?v=%32", True),
        ({"v": "a b"}, "/?v=A+B", True),
        ({"v": "2"}, "/v=2", False),
        ({"v": "*"}, "/?v", True),
        ({"v": "2", "w": "*"}, "/?v=2", False),
        ({"v": "2*"}, "/?w=1&v=23", True),
    ],
)
def test_query(wanted, path, is_match):
    assert matches({"query": wanted}, path=path) is is_match


def test_method():
    assert matches({"method": ["GET", "POST"]}, method="POST")
    assert not matches({"method": "GET"}, method="HEAD")
    assert not matches({"method": "GET"}, method="get")


@pytest.mark.parametrize(
    ("network", "client", "is_match"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8::/32", "2001:db8::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("0.0.0.0/0", "", False),
    ],
)
def test_source_ip(network, client, is_match):
    assert matches({"source_ip": network}, client=client) is is_match


def test_all_conditions_of_a_rule_have_to_hold():
    rule = {"host": "shop.example", "path_prefix": "/a", "method": "GET"}
    assert matches(rule, path="/a")
    assert not matches(rule, path="/b")
    assert not matches(rule, path="/a", method="POST")
    assert not matches(rule, path="/a", host="other.example")


def test_the_first_rule_in_order_or_by_priority_decides():
    first, second = {"path": "/a*", "forward": "web"}, {"path": "/ab", "forward": "api"}
    assert table([first, second]).find(request("/ab")).name == "rule-1"
    by_priority = table([{**first, "priority": 20}, {**second, "priority": 10}])
    assert by_priority.find(request("/ab")).name == "rule-2"
    assert by_priority.find(request("/ac")).name == "rule-1"


def test_readings_that_different_rules_match_are_refused():
    rules = table(
        [
            {"name": "deny", "path_prefix": "/admin", "fixed_response": {"status": 403}},
            {"name": "static", "path_prefix": "/static", "forward": "web"},
        ],
        target_group="api",
    )
    for path in ("/admin", "/Admin/x", "/%61dmin", "/admin/%2e", "/admin/a%2fb"):
        assert rules.find(request(path)).name == "deny", path
    for path in (
        "//admin",
        "/static/../admin",
        "/admin%2f..",
        "/static%2f..%2fadmin",
        "/x/..;/admin",
        "/admin;x/y",
    ):
        with pytest.raises(ProtocolError) as caught:
            rules.find(request(path))
        assert caught.value.kind is ErrorKind.BAD_REQUEST
        assert rules.plain(request(path)) is None
        assert rules.decide(request(path), None).error is ErrorKind.BAD_REQUEST
    for path in ("/static/a%2Fb", "/static//a", "/static/x/../y"):
        assert rules.find(request(path)).name == "static"
    assert rules.find(request("/x%2Fy")) is None


def test_what_no_rule_matches_goes_to_the_default_or_nowhere():
    rule = {"path": "/a", "forward": "api"}
    assert table([rule], target_group="web").decide(request("/b"), None).group == "web"
    nowhere = table([rule]).decide(request("/b"), None)
    assert (nowhere.error, nowhere.rule, nowhere.group) == (ErrorKind.NO_RULE, "-", "")
    assert table([rule]).plain(request("/b")) is None
    assert table([rule]).plain(request("/a")).group == "api"


def test_what_costs_too_much_to_judge_is_refused():
    made = table([{"path": "/a", "forward": "web"}, {"query": {"debug": "1"}, "forward": "web"}])
    for path, kind in (
        ("/" + "%61" * 1400, ErrorKind.URI_TOO_LONG),
        ("/?" + "a&" * 1000, ErrorKind.BAD_REQUEST),
    ):
        assert made.decide(request(path), None).error is kind
    assert made.find(request("/" + "a" * 60_000)) is None
    assert made.find(request("/?" + "a&" * 998 + "debug=1")).name == "rule-2"


def test_a_pattern_full_of_wildcards_takes_no_time():
    for pattern in ("*a" * 30, "*a?" * 30):
        made = table([{"path": f"/{pattern}b", "forward": "web"}])
        assert made.find(request("/" + "a" * 60_000)) is None
