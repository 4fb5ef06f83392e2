"""`limpet up --check` finds no mistake in any configuration that the documentation shows.

A block of TOML is a whole configuration, or says in its first line that it is a part of one, or
the file of targets that a group's discovery reads.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import guides
import pytest
from authority import Authority
from click.testing import CliRunner
from pydantic import ValidationError

from limpet.cli.up import up
from limpet.config.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PART = "# a part of limpet.toml\n"
TARGETS_FILE = "# /run/app/targets.toml"
_PATH = re.compile(r'\b(certificate|key|ca|client_ca|file|acme_webroot) = "(/[^"]+)"')


def configurations() -> Iterator[Any]:
    pages = [guides.ROOT / "README.md", *sorted((guides.ROOT / "docs").rglob("*.md"))]
    for page in pages:
        path = str(page.relative_to(guides.ROOT))
        texts = [text for language, text in guides.Guide(path).blocks if language == "toml"]
        for number, text in enumerate(texts, 1):
            yield pytest.param(text, id=f"{path}-{number}")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """What settings with a path may name: files that are there."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority(folder)
    pair = authority.issue(guides.SITE)
    keys = folder / "keys"
    keys.write_text("00" * 32)
    trusted = str(authority.path)
    others = {"ca": trusted, "client_ca": trusted, "file": str(keys), "acme_webroot": str(folder)}
    return pair | others


@pytest.mark.parametrize("text", list(configurations()))
def test_a_configuration_of_the_documentation(
    text: str, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")  # some are for limpet in a pod
    text = _PATH.sub(lambda found: f'{found[1]} = "{files[found[1]]}"', text)
    if text.startswith(PART):
        assert mistakes_of_a_part(tomllib.loads(text)) == []
        return
    if text.startswith(TARGETS_FILE):
        assert mistakes_of_a_part({"target_groups": {"web": tomllib.loads(text)}}) == []
        return
    path = tmp_path / "limpet.toml"
    path.write_text(text)
    done = CliRunner().invoke(up, ["--check", str(path)])
    assert (done.exit_code, "warning" in done.output) == (0, False), done.output


def mistakes_of_a_part(data: dict[str, Any]) -> list[Any]:
    """Return what is wrong in a part, apart from what it leaves out."""
    listeners = data.get("listeners", [])
    if isinstance(listeners, dict):  # `[listeners.tls]` belongs to a listener that is not shown
        data["listeners"] = [listeners]
    try:
        Settings.model_validate(data)
    except ValidationError as error:
        # "too_short": a list whose only item leaves something out counts as empty.
        return [each for each in error.errors() if each["type"] not in {"missing", "too_short"}]
    return []
