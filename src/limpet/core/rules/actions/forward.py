"""Forwarding to one target group, or to one of several by weight.

A client that got one of several groups stays with it: its pin (see `group_pin`) names the group. It is
kept at weight 0 too, so a new version of a site can be tried on some, and taken back, without logging
anybody out. A client is drawn anew when its group has left the rule, or has no target left that may
serve anybody: then its sessions are lost in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from limpet.core.balancing.rendezvous import score
from limpet.core.rules.group_pin import GroupChoice
from limpet.core.rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limpet.core.model import TargetGroup
    from limpet.core.request import RequestHead
    from limpet.core.rules.rule import Rule, Surroundings
    from limpet.core.stickiness.contract import Finding, Stickiness


class WeightedGroup(NamedTuple):
    """One of a rule's groups and its share of new clients, 0 to 1000."""

    group: str
    weight: int


class Forward:
    """Forwards to target groups."""

    kind = "forward"

    def __init__(self, groups: tuple[WeightedGroup, ...]) -> None:
        self.groups = groups
        self.only_group = groups[0].group if len(groups) == 1 else ""

    def act(self, rule: Rule, request: RequestHead, around: Surroundings) -> Verdict:
        """Choose a group."""
        pin = around.group_pins.get(rule.name)
        if pin is None:
            group, why, choice = self._draw(around), "drawn by weight", None
        else:
            group, why, finding = self._keep_or_choose(pin.stickiness, request, around)
            choice = GroupChoice(group, pin.stickiness, finding)
        return Verdict(
            rule=rule.name,
            group=group,
            why=why,
            choice=choice,
            request_edits=rule.request_edits,
            response_edits=rule.response_edits,
        )

    def _keep_or_choose(
        self, pin: Stickiness, request: RequestHead, around: Surroundings
    ) -> tuple[str, str, Finding]:
        finding = pin.find(request, {}, around.now)
        pinned = finding.target_id
        if pinned is not None:
            if self._serves(pinned, around):
                return pinned, f"pinned to {pinned}", finding
            key = cast("bytes", finding.session_key)  # every pin has one
            drawn = self._place(key, around)
            return drawn, f"was pinned to {pinned}, which serves nobody", finding.unsettled()
        if finding.session_key is not None:
            return self._place(finding.session_key, around), "placed by its key", finding
        if finding.is_settled or pin.first_visits is None:
            return self._draw(around), "drawn by weight", finding
        visit = finding.visit = pin.first_visits.enter(request, around.now)
        if visit.target_id is not None and self._serves(visit.target_id, around):
            return visit.target_id, "joined a first visit", finding
        visit.target_id = self._draw(around)
        return visit.target_id, "drawn by weight", finding

    def _serves(self, name: str, around: Surroundings) -> bool:
        group = around.groups.get(name)
        return group is not None and any(name == each.group for each in self.groups) and _is_serving(group)

    def _draw(self, around: Surroundings) -> str:
        groups = self._drawable(around)
        return around.rng.choices(groups, [each.weight for each in groups])[0].group

    def _place(self, key: bytes, around: Surroundings) -> str:
        # A client's parallel requests have to meet, so chance has no part in it; see `route`.
        return max(self._drawable(around), key=lambda each: score(key, each.group, each.weight)).group

    def _drawable(self, around: Surroundings) -> list[WeightedGroup]:
        # A group that serves nobody gets nobody, unless none does: then its 503 is the answer.
        weighted = [each for each in self.groups if each.weight]
        return [each for each in weighted if _takes_new(around.groups, each.group)] or weighted


def _is_serving(group: TargetGroup) -> bool:
    return bool(group.available) or any(target.takes_sticky for target in group.by_id.values())


def _takes_new(groups: Mapping[str, TargetGroup], name: str) -> bool:
    return name in groups and bool(groups[name].available)
