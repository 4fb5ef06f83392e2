"""A rule: conditions, an action, and what it changes in passing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from limpet.core.rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from limpet.core.clock import Now
    from limpet.core.model import TargetGroup
    from limpet.core.request import RequestHead
    from limpet.core.rules.field_edits import FieldEdits
    from limpet.core.rules.group_pin import GroupPin
    from limpet.core.rules.subject import Subject


class Condition(Protocol):
    """Something that a request has or has not.

    Attributes:
        kind: the name in the configuration and in `CONDITIONS`.
        is_of_line: it reads nothing but the method, the host, the path and the query.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def is_of_line(self) -> bool: ...  # noqa: D102

    def holds(self, subject: Subject) -> bool:
        """Return whether a request has it.

        Raises:
            ProtocolError: it cannot be told, so the request must be refused.
        """
        ...


class Action(Protocol):
    """What becomes of a request.

    Attributes:
        kind: the name in the configuration and in `ACTIONS`.
        only_group: the target group that gets every request; `act` is not called then. "" if there
            is something to decide.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def only_group(self) -> str: ...  # noqa: D102

    def act(self, rule: Rule, request: RequestHead, around: Surroundings) -> Verdict:
        """Decide. Whatever becomes of the request, a `choice` has to be told of its end (`leave_group`)."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an action may look at beside the request.

    Attributes:
        groups: by name.
        group_pins: what pins clients to one of a rule's groups, by the rule's name.
    """

    groups: Mapping[str, TargetGroup]
    group_pins: Mapping[str, GroupPin]
    now: Now
    rng: Random


class Rule:
    """One rule of a listener.

    Args:
        conditions: all have to hold; none for every request.
        request_edits: of what the target gets; None for none.
        response_edits: of what the client gets; None for none.

    Attributes:
        name: in the log and in `limpet explain`.
        other_conditions: those that read more than the request line and the host.
        settled: the verdict on every request that it matches; None if each needs one of its own.
        plain: the same if it says no more than a target group's name; else None.
    """

    __slots__ = (
        "_line_conditions",
        "action",
        "name",
        "other_conditions",
        "plain",
        "request_edits",
        "response_edits",
        "settled",
    )

    def __init__(
        self,
        name: str,
        conditions: tuple[Condition, ...],
        action: Action,
        request_edits: FieldEdits | None = None,
        response_edits: FieldEdits | None = None,
    ) -> None:
        self.name = name
        self._line_conditions = tuple([each for each in conditions if each.is_of_line])
        self.other_conditions = tuple([each for each in conditions if not each.is_of_line])
        self.action = action
        self.request_edits = request_edits
        self.response_edits = response_edits
        self.settled = (
            Verdict(
                rule=name,
                group=action.only_group,
                request_edits=request_edits,
                response_edits=response_edits,
            )
            if action.only_group
            else None
        )
        self.plain = self.settled if self.settled is not None and self.settled.is_plain else None

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All conditions."""
        return self._line_conditions + self.other_conditions

    def matches(self, subject: Subject) -> bool:
        """Return whether all conditions hold."""
        return self.may_match(subject) and _all_hold(self.other_conditions, subject)

    def may_match(self, subject: Subject) -> bool:
        """Return whether those conditions hold that read no more than the request line and the host."""
        return _all_hold(self._line_conditions, subject)


def _all_hold(conditions: tuple[Condition, ...], subject: Subject) -> bool:
    for condition in conditions:  # noqa: SIM110  # all() costs twice as much
        if not condition.holds(subject):
            return False
    return True
