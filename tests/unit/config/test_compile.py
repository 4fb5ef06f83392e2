"""What settings mean for the core."""

import pytest

from limpet.config import compile as compiled
from limpet.config.flags import Flags, settings_from_flags
from limpet.config.load import load_data
from limpet.errors import ConfigError


def test_names_of_targets_are_stable_and_show_no_address():
    settings = settings_from_flags(Flags(targets=["http://127.0.0.1:9001", "unix:/run/a.sock", "[::1]:9001"]))
    ids = [target.id for target in compiled.targets(settings.target_groups["default"].targets)]
    assert ids == [compiled.target_id(x) for x in ("127.0.0.1:9001", "unix:/run/a.sock", "[::1]:9001")]
    assert len(set(ids)) == 3
    assert not any("9001" in name for name in ids)


def test_every_limit_reaches_the_core():
    group = load_data(
        {"target_groups": {"web": {"targets": ["127.0.0.1:1"], "limits": {"max_in_flight": 7}}}}
    )
    limits = compiled.limits(group.target_groups["web"].limits)
    assert limits.max_in_flight == 7
    assert compiled.client_limits(group.clients).max_head_bytes == 65536


def test_the_default_duration_is_a_day_but_the_apps_cookie_sets_its_own():
    def duration(**sticky):
        group = {"targets": ["127.0.0.1:1"], "stickiness": sticky}
        settings = load_data({"target_groups": {"web": group}})
        return compiled.stickiness("web", settings.target_groups["web"].stickiness).duration_s

    assert duration() == 86400
    assert duration(type="app_cookie", app_cookie="sid") == 0
    assert duration(type="app_cookie", app_cookie="sid", duration_s=60) == 60


def test_flags_replace_what_the_file_says():
    data = {
        "listeners": [{"address": "127.0.0.1:1"}],
        "target_groups": {"web": {"targets": ["127.0.0.1:2"], "stickiness": {"cookie_name": "kept"}}},
    }
    settings = settings_from_flags(
        Flags(listen="127.0.0.1:3", algorithm="power_of_two", stickiness="off", admin="127.0.0.1:4"), data
    )
    assert settings.listeners[0].address == "127.0.0.1:3"
    assert settings.admin.address == "127.0.0.1:4"
    web = settings.target_groups["web"]
    assert (web.algorithm, web.stickiness.type, web.stickiness.cookie_name) == ("power_of_two", "off", "kept")


def test_another_address_keeps_the_rules():
    rule = {"path_prefix": "/admin", "fixed_response": {"status": 403}}
    data = {
        "listeners": [{"address": "127.0.0.1:1", "rules": [rule]}, {"address": "127.0.0.1:2"}],
        "target_groups": {"web": {"targets": ["127.0.0.1:2"]}},
    }
    (listener,) = settings_from_flags(Flags(listen="127.0.0.1:3"), data).listeners
    assert (listener.address, len(listener.rules)) == ("127.0.0.1:3", 1)


def test_an_app_cookie_alone_means_app_cookie_stickiness():
    settings = settings_from_flags(Flags(targets=["127.0.0.1:1"], app_cookie="sid"))
    assert settings.target_groups["default"].stickiness.type == "app_cookie"


@pytest.mark.parametrize(
    ("groups", "changed"),
    [({"web": ["127.0.0.1:2"]}, "web"), ({"web": ["127.0.0.1:2"], "default": ["127.0.0.1:2"]}, "default")],
)
def test_targets_given_as_flags_replace_those_of_the_only_group(groups, changed):
    data = {
        "listeners": [{"address": "127.0.0.1:1", "target_group": "web"}],
        "target_groups": {name: {"targets": targets} for name, targets in groups.items()},
    }
    settings = settings_from_flags(Flags(targets=["127.0.0.1:9"]), data)
    found = {name: group.targets[0].address for name, group in settings.target_groups.items()}
    assert found == dict.fromkeys(groups, "127.0.0.1:2") | {changed: "127.0.0.1:9"}


def test_a_file_without_target_groups_is_told_so():
    for data, told in (({}, "is missing; add it"), ({"target_groups": {}}, "is empty; add at least one")):
        with pytest.raises(ConfigError) as caught:
            settings_from_flags(Flags(), data)
        assert caught.value.problems == [f"target_groups: {told}"]
