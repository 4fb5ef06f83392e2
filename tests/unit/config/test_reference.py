"""The page in docs/ says what the schema says."""

import tomllib
from pathlib import Path

from limpet.config.load import load_data
from limpet.config.reference import render
from limpet.core.balancing import POLICIES

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_made_of_the_schema():
    assert PAGE.read_text() == render(), "run: python -m limpet.config.reference > docs/configuration.md"


def test_its_example_is_right():
    example = PAGE.read_text().split("```toml\n")[1].split("```")[0]
    assert load_data(tomllib.loads(example))


def test_every_policy_is_named():
    for name in POLICIES:
        assert f"`{name}`" in PAGE.read_text()
