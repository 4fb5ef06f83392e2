"""Patterns with wildcards: `*` stands for any number of characters, `?` for exactly one.

As in ALB. Everything is compared in small letters. A pattern is tried in time that grows with the
length of the text only: no text of a client can make it backtrack.
"""

from __future__ import annotations

import re
from fnmatch import translate
from unicodedata import normalize

#: What makes a pattern more than a plain text.
WILDCARDS = frozenset("*?")


class Patterns:
    """Several patterns, of which one has to match.

    Args:
        texts: patterns; letter case does not count.

    Attributes:
        literal: those without a wildcard.
        wild: those with one.
    """

    __slots__ = ("_match", "literal", "wild")

    def __init__(self, texts: tuple[str, ...]) -> None:
        lowered = [normalize("NFC", text).casefold() for text in texts]
        self.literal = frozenset(text for text in lowered if WILDCARDS.isdisjoint(text))
        self.wild = tuple(text for text in lowered if text not in self.literal)
        joined = "|".join([translate(text.replace("[", "[[]")) for text in self.wild])
        self._match = re.compile(joined) if self.wild else None

    def __contains__(self, text: str) -> bool:
        """Return whether a text in small letters matches one of the patterns."""
        return text in self.literal or (self._match is not None and self._match.match(text) is not None)
