"""What keeps a client with one of a rule's groups, as stickiness keeps its session on a target.

It is the same machinery one level up: groups take the place of targets. The ticket stands in a cookie
of the rule's own; where the groups pin sessions by address or header, so does the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.core.stickiness.contract import NOTHING_TO_BIND

if TYPE_CHECKING:
    from limpet.core.clock import Now
    from limpet.core.request import RequestHead, ResponseHead
    from limpet.core.stickiness.contract import Binding, Finding, Stickiness
    from limpet.core.stickiness.settings import Sealing, StickinessSettings


@dataclass(frozen=True, slots=True)
class GroupPinSettings:
    """What pins the clients of one rule.

    Attributes:
        kind: of stickiness, as in `KINDS`.
        stickiness: its settings; `group` names the rule.
    """

    kind: str
    stickiness: StickinessSettings


@dataclass(frozen=True, slots=True)
class GroupPin:
    """The pin of one rule; `stickiness` outlives snapshots, and `settings` and `sealing` made it."""

    stickiness: Stickiness
    settings: GroupPinSettings
    sealing: Sealing


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """Which of several groups a client got.

    Attributes:
        group: its name.
        pin: what keeps the client there.
        finding: what the request said of it.
    """

    group: str
    pin: Stickiness
    finding: Finding


def bind_group(choice: GroupChoice, request: RequestHead, response: ResponseHead, now: Now) -> Binding:
    """Say what the response has to carry so that the client stays with its group."""
    if choice.finding.is_settled:
        return NOTHING_TO_BIND
    return choice.pin.bind(request, choice.finding, choice.group, response, now)


def leave_group(choice: GroupChoice, now: Now) -> None:
    """Note that a request has ended, answered or not."""
    visit, first_visits = choice.finding.visit, choice.pin.first_visits
    if visit is not None and first_visits is not None:
        first_visits.leave(visit, now)
