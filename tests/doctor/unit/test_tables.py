"""The table of checks, their files and their pages agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from limpet.doctor import checks
from limpet.doctor.checks import CHECKS

ROOT = Path(__file__).parents[3]
FOLDER = Path(checks.__file__).parent


def test_every_file_of_a_check_is_in_the_table() -> None:
    files = {path.stem.split("_")[0].upper() for path in FOLDER.glob("[abls][0-9]*_*.py")}
    assert files == set(CHECKS)


@pytest.mark.parametrize("rule", sorted(CHECKS))
def test_every_check_has_a_page_with_its_title(rule: str) -> None:
    page = (ROOT / "docs" / "doctor" / f"{rule}.md").read_text()
    assert page.startswith(f"# {rule}: {CHECKS[rule].title}\n")
    assert all(
        part in page for part in ("**Cause.**", "**How it looks.**", "**How to confirm.**", "**Fix.**")
    )
