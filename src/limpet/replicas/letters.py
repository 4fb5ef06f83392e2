"""The names of replicas: A to Z, then AA, AB, and so on."""

from __future__ import annotations


def letters(index: int) -> str:
    """Return the name of the replica with this index, counted from 0."""
    name = ""
    index += 1
    while index > 0:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
