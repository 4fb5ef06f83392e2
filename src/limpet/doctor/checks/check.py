"""The form of a check: a rule's name and a pure function over the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.evidence import Evidence
    from limpet.doctor.finding import Answer, Mode


@dataclass(frozen=True, slots=True)
class Check:
    """One cause of logouts.

    Attributes:
        rule: its id, never reused.
        title: the cause in a few words.
        mode: what it takes to see it.
        source: where it has been described by somebody whom it hit.
        answer: reads the evidence.
    """

    rule: str
    title: str
    mode: Mode
    source: str
    answer: Callable[[Evidence], Answer]
