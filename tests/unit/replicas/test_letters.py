from __future__ import annotations

import pytest

from limpet.replicas.letters import letters


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "A"), (4, "E"), (25, "Z"), (26, "AA"), (27, "AB"), (51, "AZ"), (52, "BA"), (702, "AAA")],
)
def test_names_go_from_a_to_z_and_on(index: int, name: str) -> None:
    assert letters(index) == name


def test_no_name_comes_twice() -> None:
    assert len({letters(index) for index in range(2000)}) == 2000
