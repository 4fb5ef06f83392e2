"""What a listener's rules say of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limpet.core.rules.field_edits import FieldEdits
    from limpet.core.rules.group_pin import GroupChoice
    from limpet.errors import ErrorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that limpet gives itself.

    Attributes:
        fields: names as they are sent, and values.
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a request. One of `group`, `reply` and `error` is set.

    Attributes:
        rule: name of the rule that matched; "-" for the listener's default.
        group: name of the target group that gets the request; "" if none.
        why: how one of several groups was chosen; "" if there was no choice.
        choice: to be bound and left; None without group stickiness.
        error: why no rule has an answer, with a sentence in `detail`.
    """

    rule: str
    group: str = ""
    why: str = ""
    choice: GroupChoice | None = None
    reply: Reply | None = None
    error: ErrorKind | None = None
    detail: str = ""
    request_edits: FieldEdits | None = None
    response_edits: FieldEdits | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than a target group's name."""
        return bool(self.group) and not self.changes_response and self.request_edits is None

    @property
    def changes_response(self) -> bool:
        """Whether a target's response must not be passed on as it is."""
        return self.choice is not None or self.response_edits is not None
