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
            "admin.address: '0.0.0.0:8081' is not a loopback address; write 127.0.0.1:PORT or unix:/path",
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
