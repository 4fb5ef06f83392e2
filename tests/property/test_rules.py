"""Rules against what is plain but slow: asking every rule."""

import re
import sys
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from limpet.config import compile_rules
from limpet.config.rule_schema import (
    FieldEditSettings,
    FixedResponseSettings,
    RedirectSettings,
    RuleSettings,
    WeightedGroupSettings,
)
from limpet.config.warnings import warnings
from limpet.core.clock import Now
from limpet.core.rules.patterns import Patterns
from limpet.core.rules.reading import read_path
from limpet.core.rules.rule import Surroundings
from limpet.core.rules.subject import Subject, read_host
from limpet.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "rules"))

import kit
from kit import request, table

_HOSTS = ["a.example", "b.example", "*.example", "b.*"]
_PATHS = ["/", "/a", "/a/b", "/a*", "/*b", "/b/*", "/a?b", "*"]
_PREFIXES = ["/", "/a", "/a/b", "/b"]
_RULES = st.fixed_dictionaries(
    {},
    optional={
        "host": st.lists(st.sampled_from(_HOSTS), min_size=1, max_size=2),
        "path": st.lists(st.sampled_from(_PATHS), min_size=1, max_size=2),
        "path_prefix": st.lists(st.sampled_from(_PREFIXES), min_size=1, max_size=2),
        "method": st.just(["POST"]),
    },
)


@given(
    st.lists(_RULES, min_size=1, max_size=5),
    st.sampled_from(["a.example", "b.example:80", "c.example", "b.test", ""]),
    st.sampled_from(["/", "/a", "/A/b", "/a/b/c", "/ab", "/b", "/b/x", "/a/", "/c/ab", "/a?b=c"]),
    st.sampled_from(["GET", "POST"]),
)
def test_the_index_finds_what_asking_every_rule_finds(rules, host, path, method):
    made = table([{**rule, "forward": "web"} for rule in rules])
    asked = request(path, host=host, method=method)
    subject = Subject(asked, read_host(host.encode()), read_path(path.encode())[0])
    expected = next((rule for rule in made.rules if rule.matches(subject)), None)
    assert made.find(asked) is expected


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=20))
def test_whatever_a_client_sends_has_an_answer(path, host, value):
    rules = [
        {"path": "/*a*b*c*", "forward": "web"},
        {"host": "*.x", "query": {"a": "*b*"}, "forward": "web"},
        {"header": {"x": "?*"}, "source_ip": "::/0", "forward": "api"},
    ]
    asked = request("/" + path, host=host, headers=[("x", value)], client=value)
    assert table(rules).decide(asked, None) is not None


_PARTS = ["/", "admin", "shop", "..", ".", "%2f", "%2e", "%5c", "\\", ";", "%00", "A", "%61"]


@given(
    st.lists(st.sampled_from(["/admin", "/shop", "/x"]), min_size=1, max_size=2),
    st.lists(
        st.sampled_from(["/", "admin", "shop", "..", ".", "%2f", "%2e", "%5c", "\\", ";", "%00", "A", "%61"]),
        max_size=7,
    ),
)
def test_a_request_passes_only_if_every_reading_says_so(prefixes, parts):
    made = table(
        [{"path_prefix": prefix, "fixed_response": {"status": 403}} for prefix in prefixes],
        target_group="web",
    )
    path = "/" + "".join(parts)
    passes = made.decide(request(path), None).group == "web"
    below = any(
        reading == prefix or reading.startswith(f"{prefix}/")
        for reading in read_path(path.encode())
        for prefix in prefixes
    )
    assert not (passes and below)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_patterns_match_as_wildcards_do(pattern, text):
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text) is not None
    assert (text in Patterns((pattern,))) is expected


_MORE = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(["/a", "/a*", "/b"]),
        "header": st.just({"X-A": "1"}),
        "source_ip": st.just("10.0.0.0/8"),
        "query": st.just({"q": "1"}),
    },
)
_ASKED = st.tuples(
    st.sampled_from(["/a", "/a?q=1", "/b", "//b", "/c"]),
    st.sampled_from([[], [("x-a", "1")]]),
    st.sampled_from(["10.0.0.1", "192.0.2.1"]),
    st.sampled_from(["GET", "POST"]),
)


@given(st.lists(_MORE, max_size=4), st.lists(_ASKED, max_size=8))
def test_what_is_remembered_of_one_request_is_true_of_the_next(rules, asked):
    forwards = [{**rule, "forward": ["web", "api"][n % 2]} for n, rule in enumerate(rules)]
    made = table(forwards, target_group="blue") if forwards else None
    for path, headers, client, method in asked if made else ():
        head = request(path, headers=headers, client=client, method=method)
        verdict = made.decide(head, None)
        assert made.plain(head) == (verdict if verdict.is_plain else None)
        assert made.plain(head) == made.plain(head)


_TEXTS = st.text(max_size=5) | st.sampled_from(
    ["", "/", "/a*", "*", "a.example", "10.0.0.0/8", "GET", "web", "#{path}", "#{x}", "X-A", "Host", "\r\n"]
)
_MODELS = (WeightedGroupSettings, RedirectSettings, FixedResponseSettings, FieldEditSettings)
_KEYS = ["X-A", "Host", *[name for model in _MODELS for name in model.model_fields]]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 700) | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=3),
    max_leaves=6,
)
_RULE = st.dictionaries(st.sampled_from([*RuleSettings.model_fields]), _VALUES, max_size=5)


@settings(max_examples=50)
@given(st.lists(_RULE, max_size=3))
def test_any_rules_are_right_or_a_list_of_mistakes(rules):
    problems = []
    try:
        loaded = kit.settings(rules, target_group="web")
    except ConfigError as error:
        problems = error.problems
    else:
        warnings(loaded)
        for made in compile_rules.rules(loaded).values():
            made.decide(request("/a?b=c"), Surroundings({}, {}, Now(0, 0), Random(1)))
    assert all(": " in line and "; " in line and "\n" not in line for line in problems), problems
