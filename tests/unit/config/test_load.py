"""Configurations: every mistake at once, each with what to do about it."""

import copy

import pytest

from limpet.config.load import load_data, load_file
from limpet.errors import ConfigError

GOOD = {
    "listeners": [{"address": "127.0.0.1:8080"}],
    "target_groups": {
        "web": {"targets": ["http://127.0.0.1:9001", {"address": "127.0.0.1:9002", "name": "b"}]}
    },
}


def changed(path, value):
    """Return GOOD with one value put at a dotted path."""
    data = copy.deepcopy(GOOD)
    *parts, last = path.split(".")
    place = data
    for part in parts:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return data


def mistakes(data):
    with pytest.raises(ConfigError) as caught:
        load_data(data)
    return caught.value.problems


def test_a_good_configuration():
    settings = load_data(GOOD)
    assert settings.target_groups["web"].algorithm == "round_robin"
    assert settings.target_groups["web"].stickiness.type == "lb_cookie"


WEB = "target_groups.web"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("listners", [], "listners: unknown setting; did you mean 'listeners'?"),
        (
            f"{WEB}.stickiness.cookiename",
            "x",
            f"{WEB}.stickiness.cookiename: unknown setting; did you mean 'cookie_name'?",
        ),
        (
            f"{WEB}.stickiness.type",
            "cookie",
            (
                f"{WEB}.stickiness.type: 'cookie' is not allowed; "
                "it should be 'off', 'lb_cookie', 'app_cookie', 'source_ip' or 'header'"
            ),
        ),
        (
            f"{WEB}.stickiness.duration_s",
            -1,
            f"{WEB}.stickiness.duration_s: -1 is not allowed; it should be greater than or equal to 0",
        ),
        (
            f"{WEB}.targets.0",
            "http://a:99999",
            f"{WEB}.targets.0.address: 'http://a:99999' has port '99999'; write a number from 0 to 65535",
        ),
        (f"{WEB}.targets.1", {"name": "b"}, f"{WEB}.targets.1.address: is missing; add it"),
        (f"{WEB}.targets", [], f"{WEB}.targets: is empty; add at least one target"),
        (
            f"{WEB}.targets",
            ["127.0.0.1:1", "http://127.0.0.1:1/"],
            f"{WEB}.targets: '127.0.0.1:1' stands 2 times; give one target a higher weight instead",
        ),
        (
            f"{WEB}.targets",
            [{"address": "127.0.0.1:1", "name": "a"}, {"address": "127.0.0.1:2", "name": "a"}],
            f"{WEB}.targets: the name 'a' stands 2 times; give each target its own",
        ),
        (
            f"{WEB}.targets.0",
            "127.0.0.1:0",
            f"{WEB}.targets.0.address: '127.0.0.1:0' has port 0; write the target's port",
        ),
        (
            f"{WEB}.stickiness.type",
            "app_cookie",
            (
                f"{WEB}.stickiness.app_cookie: is missing for type 'app_cookie'; "
                "name the application's session cookie"
            ),
        ),
        (
            f"{WEB}.stickiness.type",
            "header",
            f"{WEB}.stickiness.header: is missing for type 'header'; name the header of the session",
        ),
        (
            f"{WEB}.stickiness",
            {"cookie_name": "__Host-l", "secure": True, "domain": "a.example"},
            f"{WEB}.stickiness.domain: is not possible with a __Host- cookie; remove one of the two",
        ),
        (
            f"{WEB}.stickiness",
            {"cookie_name": "__Host-l"},
            f"{WEB}.stickiness.secure: a '__Host-l' cookie must be Secure; add secure = true",
        ),
        (
            f"{WEB}.stickiness",
            {"same_site": "None", "secure": False},
            f"{WEB}.stickiness.secure: false goes neither with SameSite=None nor Partitioned; write true",
        ),
        (
            f"{WEB}.stickiness",
            {"app_cookie": "limpet"},
            f"{WEB}.stickiness.cookie_name: 'limpet' is the application's cookie; choose another",
        ),
        (
            "listeners.0.target_group",
            "api",
            "listeners.0.target_group: 'api' is no group; choose one of web",
        ),
        (
            "listeners.0.address",
            "localhost:80",
            "listeners.0.address: 'localhost:80' is a name; write an IP address or unix:/path",
        ),
        ("listeners.0.address", "127.0.0.1", "listeners.0.address: '127.0.0.1' has no port; write HOST:PORT"),
        (
            "listeners",
            [{"address": "127.0.0.1:1"}, {"address": "127.0.0.1:1"}],
            "listeners: '127.0.0.1:1' stands 2 times; remove all but one",
        ),
        (
            "admin.address",
            "0.0.0.0:8081",
            (
                "admin.address: '0.0.0.0:8081' is not a loopback address; write 127.0.0.1:PORT or "
                "unix:/path, or add a token_file"
            ),
        ),
        (
            "error_pages.503",
            "x" * 300,
            f"error_pages.503: {'x' * 300!r} is no file; correct the path",
        ),
        (
            "listeners",
            [{"address": ":8080"}, {"address": "0.0.0.0:8080"}],
            "listeners: '0.0.0.0:8080' stands 2 times; remove all but one",
        ),
        ("error_pages.503", "/nowhere.html", "error_pages.503: '/nowhere.html' is no file; correct the path"),
        (
            f"{WEB}.health_check.matcher",
            "299-200",
            f"{WEB}.health_check.matcher: '299-200' runs backwards; write 200-299",
        ),
    ],
)
def test_one_mistake(path, value, line):
    assert line in mistakes(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "targets.0",
            {"address": "a:1", "weight": True},
            "weight: True is not allowed; it should be a whole",
        ),
        ("targets.0", {"address": "a:1", "weight": "3"}, "weight: '3' is not allowed; it should be a whole"),
        ("targets", "a:1", "targets: 'a:1' is not allowed; it should be a list"),
        ("targets.0", 5, "targets.0: 5 is not allowed; it should be a table"),
        ("stickiness", "off", "stickiness: 'off' is not allowed; it should be a table"),
        ("stickiness.secure", "no", "secure: 'no' is not allowed; it should be true or false"),
        ("stickiness.cookie_name", "a b", "cookie_name: 'a b' is not allowed; write 1 to 100 letters"),
        ("load_bound", float("nan"), "load_bound: nan is not allowed; it should be a number"),
        ("health_check.interval_s", True, "interval_s: True is not allowed; it should be a number"),
        ("health_check.headers", {"Transfer-Encoding": "chunked"}, "transfer-encoding: a check has no body"),
        ("health_check.headers", {"Host": "a", "host": "b"}, "headers: 'host' stands 2 times"),
        ("targets", ["[::1]:80", "[0:0:0:0:0:0:0:1]:80"], "targets: '[::1]:80' stands 2 times"),
    ],
)
def test_a_wrong_value_is_said_in_the_words_of_the_file(path, value, said):
    (line,) = mistakes(changed(f"{WEB}.{path}", value))
    assert said in line


@pytest.mark.parametrize("name", ["targets", "limits", "health_check"])
def test_a_groups_name_is_not_taken_for_a_setting(name):
    group = {"targets": ["127.0.0.1:1"], "health_check": {"intervall_s": 1}}
    assert mistakes({"target_groups": {name: group}}) == [
        f"target_groups.{name}.health_check.intervall_s: unknown setting; did you mean 'interval_s'?"
    ]


def test_rules_of_right_parts_are_tried_beside_wrong_ones():
    data = changed(f"{WEB}.algoritm", "x")
    data["admin"] = {"address": "0.0.0.0:1"}
    data["target_groups"]["api"] = {"targets": []}
    found = mistakes(data)
    assert [line.partition(": ")[0] for line in found] == [
        f"{WEB}.algoritm",
        "admin.address",
        "target_groups.api.targets",
    ]


@pytest.mark.parametrize(
    ("first", "second", "is_mistake"),
    [
        ({}, {}, False),
        ({"cookie_name": "one"}, {"cookie_name": "one"}, True),
        ({}, {"cookie_name": "limpet-a"}, True),
        ({}, {"cookie_name": "other"}, False),
        ({}, {"type": "source_ip"}, False),
        ({}, {"type": "app_cookie", "app_cookie": "sid"}, False),
        ({"cookie_name": "limpet-b-app"}, {"type": "app_cookie", "app_cookie": "sid"}, True),
    ],
)
def test_groups_that_are_served_have_cookies_of_their_own(first, second, is_mistake):
    data = {
        "listeners": [
            {"address": f"127.0.0.1:{port}", "target_group": name} for port, name in ((1, "a"), (2, "b"))
        ],
        "target_groups": {
            name: {"targets": ["127.0.0.1:3"], "stickiness": sticky}
            for name, sticky in (("a", first), ("b", second))
        },
    }
    if is_mistake:
        (line,) = mistakes(data)
        assert "give each its own" in line
    else:
        load_data(data)


def test_a_missing_group_of_several():
    data = copy.deepcopy(GOOD)
    data["target_groups"]["api"] = {"targets": ["127.0.0.1:1"]}
    assert mistakes(data) == ["listeners.0.target_group: is missing with 2 groups; choose one of web, api"]


def test_all_mistakes_come_at_once():
    data = changed(f"{WEB}.targets.0", "http://a:99999")
    data["admn"] = {}
    data["target_groups"]["web"]["stickiness"] = {"duration_s": -1, "type": "x"}
    found = mistakes(data)
    assert len(found) == 4
    assert all(": " in line and "; " in line for line in found)


def test_a_file(tmp_path):
    path = tmp_path / "limpet.toml"
    path.write_text('[target_groups.web]\ntargets = ["127.0.0.1:9001"]\n')
    assert load_file(path).target_groups["web"].targets[0].address == "127.0.0.1:9001"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = [", "is not valid TOML"),
        (b"\xff", "is not UTF-8"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, said):
    path = tmp_path / "limpet.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_file(path)
    assert said in caught.value.problems[0]
    assert "; " in caught.value.problems[0]
