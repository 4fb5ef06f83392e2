"""An answer that is always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.verdict import Reply, Verdict

if TYPE_CHECKING:
    from limpet.core.request import RequestHead
    from limpet.core.rules.rule import Rule, Surroundings

#: Bytes of a body; ALB takes 1024.
MAX_BODY_BYTES = 65536
#: Statuses without a body. Source: RFC 9110 sections 15.3.5 and 15.3.6.
WITHOUT_BODY = frozenset({204, 205})


class FixedResponse:
    """Answers every request in the same way."""

    kind = "fixed_response"
    only_group = ""

    def __init__(self, status: int, content_type: str, body: str) -> None:
        fields = ((b"Content-Type", content_type.encode()),) if body else ()
        self._reply = Reply(status=status, fields=fields, body=body.encode())

    def act(self, rule: Rule, request: RequestHead, around: Surroundings) -> Verdict:
        """Return the answer."""
        del request, around
        return Verdict(rule=rule.name, reply=self._reply, response_edits=rule.response_edits)
