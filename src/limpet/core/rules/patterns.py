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

    __slots__ = ("_matchers", "literal", "wild")

    def __init__(self, texts: tuple[str, ...]) -> None:
        lowered = [normalize("NFC", text).casefold() for text in texts]
        self.literal = frozenset(text for text in lowered if WILDCARDS.isdisjoint(text))
        self.wild = tuple(text for text in lowered if text not in self.literal)
        self._matchers = tuple([_Stars(text) if "?" not in text else _Marks(text) for text in self.wild])

    def __contains__(self, text: str) -> bool:
        """Return whether a text in small letters matches one of the patterns."""
        if text in self.literal:
            return True
        for matcher in self._matchers:  # noqa: SIM110  # any() costs twice as much
            if matcher.matches(text):
                return True
        return False


class _Stars:
    # What is between the stars has to be found in its order, each as early as possible.
    __slots__ = ("_first", "_last", "_middle", "_min_length")

    def __init__(self, pattern: str) -> None:
        self._first, *self._middle, self._last = pattern.split("*")
        self._min_length = len(pattern) - pattern.count("*")

    def matches(self, text: str) -> bool:
        if len(text) < self._min_length or not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        start, end = len(self._first), len(text) - len(self._last)
        for part in self._middle:
            start = text.find(part, start, end)
            if start < 0:
                return False
            start += len(part)
        return True


class _Marks:
    # `translate` makes atomic groups, which do not backtrack.
    __slots__ = ("_match",)

    def __init__(self, pattern: str) -> None:
        self._match = re.compile(translate(pattern.replace("[", "[[]"))).match

    def matches(self, text: str) -> bool:
        return self._match(text) is not None
