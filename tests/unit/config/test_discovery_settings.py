"""The settings of discovery, and what the docs and the manifest say of them."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from limpet.config.load import load_data
from limpet.config.schema import DiscoverySettings
from limpet.errors import ConfigError

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = (ROOT / "docs" / "discovery.md").read_text()
MANIFEST = (ROOT / "deploy" / "kubernetes.yaml").read_text()
EXAMPLES = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "target_groups" in text]
IN_MANIFEST = textwrap.dedent(re.findall(r"limpet.toml: \|\n((?:    .*\n|\n)+)", MANIFEST)[0])


@pytest.fixture(autouse=True)
def _in_a_pod(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")


@pytest.mark.parametrize("text", [*EXAMPLES, IN_MANIFEST])
def test_every_example_can_be_used(text):
    load_data(tomllib.loads(text))


def test_every_kind_has_an_example_and_the_role_its_verbs():
    kinds = {
        tomllib.loads(text)["target_groups"]["web"].get("discovery", {}).get("type") for text in EXAMPLES
    }
    assert kinds == {None, *DiscoverySettings.model_fields["type"].annotation.__args__}
    assert 'resources: ["endpointslices"]\n    verbs: ["list", "watch"]' in MANIFEST


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"type": "consul"}, ".type: 'consul' is not allowed"),
        ({"type": "dns", "name": "a.test"}, ".port: is missing for type 'dns'; add it"),
        ({"type": "srv"}, ".name: is missing for type 'srv'; add it"),
        ({"type": "srv", "name": "a b"}, ".name: 'a b' is not allowed"),
        ({"type": "file", "path": "/a", "https": True}, ".https: means nothing for type 'file'; remove it"),
        ({"type": "srv", "name": "a", "servers": ["ns.test"]}, "'ns.test' is no DNS server"),
        (
            {"type": "kubernetes", "service": "a", "servce": 1},
            ".servce: unknown setting; did you mean 'service'?",
        ),
    ],
)
def test_mistakes_are_told(settings, problem):
    with pytest.raises(ConfigError) as caught:
        load_data({"target_groups": {"web": {"discovery": settings}}})
    assert "target_groups.web.discovery" in caught.value.problems[0]
    assert problem in caught.value.problems[0]


def test_a_group_without_any_source_of_targets_is_a_mistake():
    with pytest.raises(ConfigError, match="add at least one"):
        load_data({"target_groups": {"web": {}}})
