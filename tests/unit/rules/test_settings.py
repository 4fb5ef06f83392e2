"""Mistakes and warnings about rules, all at once; and what settings mean for the core."""

import sys
import tomllib
from pathlib import Path

import pytest

from limpet.config import compile as compiled
from limpet.config import compile_rules
from limpet.config.load import load_data
from limpet.config.warnings import warnings
from limpet.core.rules.conditions import CONDITIONS
from limpet.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parent))

from kit import settings

TEAPOT = {"fixed_response": {"status": 418}}
SPLIT = [{"group": "blue", "weight": 1}, {"group": "green", "weight": 1}]


def mistakes(*rules, **more):
    with pytest.raises(ConfigError) as caught:
        settings(list(rules), **more)
    return [line.removeprefix("listeners.0.rules") for line in caught.value.problems]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"path": "/a"}, ".0: has no action"),
        ({"forward": "web", **TEAPOT}, ".0: has 2 actions (forward, fixed_response)"),
        ({"forward": "wep"}, ".0.forward: 'wep' is no group; choose one of web"),
        ({"forward": ["web", "web"], "name": "x"}, ".0.forward: 'web' stands 2 times"),
        ({"forward": SPLIT}, ".0.name: is missing; group stickiness needs one"),
        ({"forward": [{"group": "web", "weight": 0}]}, ".0.forward: every weight is 0"),
        ({"forward": [{"group": "web", "weight": -1}]}, ".0.forward.0.weight: -1 is not allowed"),
        ({**TEAPOT, "group_stickiness_s": 5}, ".0.group_stickiness_s: is for forward"),
        ({"redirect": {}}, ".0.redirect: leads back"),
        ({"redirect": {"status": 301}}, ".0.redirect: leads back"),
        ({"redirect": {"status": 305, "host": "x"}}, ".0.redirect.status: 305 is not allowed"),
        ({"redirect": {"path": "/#{paht}"}}, ".0.redirect.path: #{paht} is no placeholder"),
        ({"redirect": {"path": "x"}}, ".0.redirect.path: 'x' is not allowed"),
        ({"redirect": {"host": "a\r\nb"}}, ".0.redirect.host: 'a\\r\\nb' is not allowed"),
        ({"fixed_response": {"status": 302}}, ".0.fixed_response.status: 302 is no answer; use redirect"),
        ({"fixed_response": {"status": 101}}, ".0.fixed_response.status: 101 is not allowed"),
        ({"fixed_response": {"status": 204, "body": "x"}}, ".0.fixed_response.body: a 204 has none"),
        ({"fixed_response": {"status": 200, "body": "é" * 40000}}, ".0.fixed_response.body: has 80000 bytes"),
        ({**TEAPOT, "path": "admin"}, ".0.path.0: 'admin' is not allowed"),
        ({**TEAPOT, "path": "/a%20b"}, ".0.path.0: '/a%20b' has an escape"),
        ({**TEAPOT, "path": "/a/../b"}, ".0.path.0: '/a/../b' matches no path that is read"),
        ({**TEAPOT, "path_prefix": "/a*"}, ".0.path_prefix.0: '/a*' is not allowed"),
        ({**TEAPOT, "path_prefix": "//a"}, ".0.path_prefix.0: '//a' matches no path"),
        ({**TEAPOT, "path": []}, ".0.path: is empty; add at least one"),
        ({**TEAPOT, "host": "a/b"}, ".0.host.0: 'a/b' is not allowed"),
        ({**TEAPOT, "method": "get"}, ".0.method.0: 'get' is not allowed"),
        ({**TEAPOT, "source_ip": "10.0.0.0/33"}, ".0.source_ip.0: "),
        ({**TEAPOT, "header": {"a b": "1"}}, ".0.header.a b: 'a b' is not allowed"),
        ({**TEAPOT, "paht": "/a"}, ".0.paht: unknown setting; did you mean 'path'?"),
        ({**TEAPOT, "request_headers": {"set": {"X": "1"}}}, ".0.request_headers: no target gets"),
        ({"forward": "web", "request_headers": {"set": {"Cookie": "1"}}}, ".0.request_headers.set: 'Cookie'"),
        ({"forward": "web", "request_headers": {"remove": ["Host"]}}, ".0.request_headers.remove: 'Host'"),
        ({"forward": "web", "request_headers": {"add": {"host": "x"}}}, ".0.request_headers.add: 'host'"),
        (
            {"forward": "web", "request_headers": {"set": {"Transfer_Encoding": "x"}}},
            ".0.request_headers.set",
        ),
        ({"forward": "web", "request_headers": {"remove": ["X-Forwarded-For"]}}, ".0.request_headers.remove"),
        ({"forward": "web", "response_headers": {"set": {"Host": "x"}}}, ".0.response_headers.set: 'Host'"),
        ({"forward": "web", "response_headers": {"remove": ["set-cookie"]}}, ".0.response_headers.remove"),
        ({"forward": "web", "response_headers": {"set": {"X": "a\r\nb"}}}, ".0.response_headers.set.X"),
        (
            {"forward": "web", "response_headers": {"set": {"X": "1"}, "remove": ["x"]}},
            ".0.response_headers.remove: 'x' is set too",
        ),
    ],
)
def test_each_mistake_says_what_is_wrong(rule, said):
    found = mistakes(rule)
    assert any(line.startswith(said) for line in found), found
    assert all("; " in line for line in found)


def test_every_mistake_is_told_at_once():
    rules = [
        {"priority": 5, "name": "a", "forward": "nobody"},
        {"priority": 5, "name": "a", "path": "/x"},
        {"name": "b", **TEAPOT},
    ]
    found = mistakes(*rules, target_group="neither")
    assert len(found) == 6
    for said in ("priority 5 stands 2", "'a' stands 2", "no action", "'nobody'", ".2.priority: is missing"):
        assert any(said in line for line in found), said
    assert any("'neither' is no group" in line for line in found)


def test_rules_are_tried_beside_what_the_schema_refuses_elsewhere():
    data = {
        "listeners": [{"address": "127.0.0.1:1", "rules": [{"forward": "nobody"}]}],
        "target_groups": {"web": {"targets": ["127.0.0.1:2"], "algoritm": "x"}},
    }
    with pytest.raises(ConfigError) as caught:
        load_data(data)
    assert {line.partition(": ")[0] for line in caught.value.problems} == {
        "target_groups.web.algoritm",
        "listeners.0.rules.0.forward",
    }


def test_rules_of_one_name_have_one_cookie_and_so_one_duration():
    split = {"name": "x", "forward": SPLIT}
    data = {
        "listeners": [
            {"address": "127.0.0.1:1", "rules": [split]},
            {"address": "127.0.0.1:2", "rules": [{**split, "group_stickiness_s": 5}]},
        ],
        "target_groups": {name: {"targets": ["127.0.0.1:3"]} for name in ("blue", "green")},
    }
    with pytest.raises(ConfigError) as caught:
        load_data(data)
    assert "listeners.1.rules.0.group_stickiness_s: differs" in str(caught.value)


def test_a_header_that_names_sessions_is_not_edited():
    data = {
        "listeners": [
            {
                "address": "127.0.0.1:1",
                "rules": [{"forward": "web", "response_headers": {"remove": ["mcp-session-id"]}}],
            }
        ],
        "target_groups": {
            "web": {
                "targets": ["127.0.0.1:3"],
                "stickiness": {"type": "header", "header": "Mcp-Session-Id"},
            }
        },
    }
    with pytest.raises(ConfigError) as caught:
        load_data(data)
    assert "'mcp-session-id' names the sessions of group 'web'" in str(caught.value)


@pytest.mark.parametrize(
    ("earlier", "later", "is_covered"),
    [
        ({}, {"path": "/a"}, True),
        ({"path": "/a"}, {}, False),
        ({"path": "/a"}, {"path": "/A"}, True),
        ({"path": "/a*"}, {"path": ["/ab", "/ac*"]}, True),
        ({"path": "/a*"}, {"path": ["/ab", "/b"]}, False),
        ({"path": "/a*b"}, {"path": "/a*"}, False),
        ({"path": "/*"}, {"path_prefix": "/x"}, True),
        ({"path": "/x/*"}, {"path_prefix": "/x"}, False),
        ({"path_prefix": "/x"}, {"path": ["/x", "/x/y"]}, True),
        ({"path_prefix": "/x"}, {"path": "/xy"}, False),
        ({"path_prefix": "/x"}, {"path_prefix": "/x/y"}, True),
        ({"path_prefix": "/x/y"}, {"path_prefix": "/x"}, False),
        ({"path_prefix": "/"}, {"path_prefix": "/x", "method": "GET"}, True),
        ({"path_prefix": "/"}, {"method": "GET"}, False),
        ({"host": "*.example"}, {"host": "a.example"}, True),
        ({"host": "*.example"}, {"host": "*.b.example"}, True),
        ({"host": "*.example"}, {"host": "example"}, False),
        ({"host": "a"}, {"path": "/"}, False),
        ({"method": ["GET", "POST"]}, {"method": "GET"}, True),
        ({"method": "GET"}, {"method": ["GET", "POST"]}, False),
        ({"source_ip": "10.0.0.0/8"}, {"source_ip": "10.1.0.0/16"}, True),
        ({"source_ip": "10.0.0.0/8"}, {"source_ip": ["10.1.0.0/16", "::1"]}, False),
        ({"header": {"X-A": "*"}}, {"header": {"x-a": "1", "X-B": "2"}}, True),
        ({"header": {"X-A": "1"}}, {"header": {"X-B": "1"}}, False),
        ({"query": {"v": ["1", "2"]}}, {"query": {"v": "2"}}, True),
        ({"path": "/a", "method": "GET"}, {"path": "/a"}, False),
    ],
)
def test_a_rule_that_is_never_reached_is_a_warning(earlier, later, is_covered):
    rules = [{"name": "first", **earlier, **TEAPOT}, {**later, "forward": "web"}]
    found = warnings(settings(rules, target_group="web"))
    assert found == (
        ["listeners.0.rules.1: is never reached, because 'first' comes first; move or remove it"]
        if is_covered
        else []
    )


def test_what_comes_first_is_a_matter_of_priority():
    rules = [{"priority": 9, "path": "/a", **TEAPOT}, {"priority": 1, **TEAPOT}]
    (line,) = warnings(settings(rules, target_group="web"))
    assert line.startswith("listeners.0.rules.0: is never reached, because 'rule-2'")


def test_groups_without_stickiness_between_them_are_a_warning():
    (line,) = warnings(settings([{"forward": SPLIT, "group_stickiness_s": 0}]))
    assert line.startswith("listeners.0.rules.0.group_stickiness_s: is 0, so clients lose their place")


def test_every_condition_has_a_setting():
    rule = settings(
        [
            {
                "host": "a", "path": "/a", "path_prefix": "/a", "header": {"a": "1"}, "query": {"a": "1"},
                "method": "GET", "source_ip": "::1", **TEAPOT,
            }
        ]
    ).listeners[0].rules[0]  # fmt: skip
    assert [condition.kind for condition in compile_rules.conditions(rule)] == list(CONDITIONS)


def cookies(groups, rules=(), **listener):
    data = {
        "listeners": [{"address": "127.0.0.1:1", "rules": list(rules), **listener}],
        "target_groups": {
            name: {"targets": ["127.0.0.1:3"], "stickiness": sticky} for name, sticky in groups.items()
        },
    }
    return {name: tuple(names) for name, names in compiled.cookie_names(load_data(data)).items()}


def test_a_group_has_a_cookie_of_its_own_where_there_are_several():
    api = [{"path": "/a", "forward": "api"}]
    alone = {"web": ("limpet", "limpet-web")}
    assert cookies({"web": {}}) == alone
    assert cookies({"web": {}, "api": {"type": "off"}}, api, target_group="web") == alone
    assert cookies({"web": {}, "api": {}}, api, target_group="web") == {
        "web": ("limpet-web", "limpet"),
        "api": ("limpet-api", "limpet"),
    }
    assert cookies({"web": {"cookie_name": "w"}, "api": {}}, api, target_group="web")["web"] == ("w", "")


def test_a_listener_keeps_its_name_when_its_rules_change():
    with_rules, without = settings([TEAPOT]), settings([], target_group="web")
    first, second = compiled.listener(with_rules, 0), compiled.listener(without, 0)
    assert first.name == second.name
    assert (first.has_rules, second.has_rules) == (True, False)
    assert list(compile_rules.rules(with_rules)) == [first.name]


def test_the_examples_of_the_page_are_right():
    page = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
    whole, part = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    listener, group = (
        '[[listeners]]\naddress = "127.0.0.1:1"\n',
        '[target_groups.shop]\ntargets = ["127.0.0.1:2"]\n',
    )
    for text in (whole, listener + part + group):
        assert warnings(load_data(tomllib.loads(text))) == []
