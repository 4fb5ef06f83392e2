"""The caller's own test of being logged in: a text, a key of a JSON body, or a status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from limpet.doctor.probe.page import body_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.doctor.probe.client import Reply


class MarkError(Exception):
    """A test that cannot be used; its text says what is wrong and what to do."""


def read_mark(text: str | None, key: str | None, status: int | None) -> Callable[[Reply], bool] | None:
    """Return the test; None if none was given."""
    if [text is not None, key is not None, status is not None].count(True) > 1:
        raise MarkError("there are two tests of being in; name one of --in-text, --in-json, --in-status")
    if text is not None:
        return lambda reply: text in body_text(reply)
    if status is not None:
        return lambda reply: reply.status == status
    if key is not None:
        path, equals, wanted = key.partition("=")
        return lambda reply: _has(reply, path.split("."), wanted if equals else None)
    return None


def _has(reply: Reply, path: list[str], wanted: str | None) -> bool:
    try:
        value: Any = json.loads(reply.body)
    except ValueError:
        return False
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    if wanted is None:
        return bool(value)
    return value == wanted or json.dumps(value) == wanted
