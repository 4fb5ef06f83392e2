"""Turns the rules of listeners into what the core runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.config.compile import default_group, listener_name
from limpet.core.rules.actions.fixed_response import FixedResponse
from limpet.core.rules.actions.forward import Forward, WeightedGroup
from limpet.core.rules.actions.redirect import Redirect
from limpet.core.rules.conditions import CONDITIONS
from limpet.core.rules.field_edits import FieldEdits
from limpet.core.rules.group_pin import GroupPinSettings
from limpet.core.rules.rule import Rule
from limpet.core.rules.table import RuleTable
from limpet.core.stickiness.settings import StickinessSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limpet.config.rule_schema import FieldEditSettings, RedirectSettings, RuleSettings
    from limpet.config.schema import Settings, TargetGroupSettings
    from limpet.core.rules.rule import Action, Condition

_DEFAULT_DURATION_S = 86400


def rules(settings: Settings) -> dict[str, RuleTable]:
    """Return the rules by the name of their listener; only of listeners that have some."""
    return {
        listener_name(settings, listener): RuleTable(
            tuple(_rule(name, rule) for name, rule in ordered(listener.rules)),
            default_group(settings, listener),
        )
        for listener in settings.listeners
        if listener.rules
    }


def group_pins(settings: Settings) -> dict[str, GroupPinSettings]:
    """Return how clients stay with one of a rule's groups, by the rule's name."""
    return {
        name: _pin(name, duration_s, [settings.target_groups[each.group] for each in rule.forward or ()])
        for listener in settings.listeners
        for name, rule in ordered(listener.rules)
        if (duration_s := pin_duration_s(rule))
    }


def _pin(name: str, duration_s: int, groups: list[TargetGroupSettings]) -> GroupPinSettings:
    # Clients that keep no cookies are known by what their groups know them by, if that is one thing.
    known_by = {(group.stickiness.type, (group.stickiness.header or "").lower()) for group in groups}
    kind, header = known_by.pop()
    if known_by or kind not in {"source_ip", "header"}:
        kind, header = "lb_cookie", ""
    stickiness = StickinessSettings(
        group=f"rule {name}", cookie_name=pin_cookie(name), duration_s=duration_s, header=header.encode()
    )
    return GroupPinSettings(kind, stickiness)


def ordered(rules: Sequence[RuleSettings]) -> list[tuple[str, RuleSettings]]:
    """Return rules with their names, in the order in which they are tried."""
    named = [(rule.name or f"rule-{number}", rule) for number, rule in enumerate(rules, 1)]
    return sorted(named, key=lambda pair: pair[1].priority or 0)


def pin_duration_s(rule: RuleSettings) -> int:
    """Return for how long an idle client stays with its one of a rule's groups; 0 for not at all."""
    if rule.forward is None or len(rule.forward) < 2:
        return 0
    return _DEFAULT_DURATION_S if rule.group_stickiness_s is None else rule.group_stickiness_s


def pin_cookie(name: str) -> str:
    """Return the name of the cookie that keeps a client with one of a rule's groups."""
    return f"limpet-to-{name}"


def _rule(name: str, settings: RuleSettings) -> Rule:
    return Rule(
        name,
        conditions(settings),
        _action(settings),
        _edits(settings.request_headers),
        _edits(settings.response_headers),
    )


def conditions(settings: RuleSettings) -> tuple[Condition, ...]:
    """Return a rule's conditions."""
    given = {kind: getattr(settings, kind) for kind in CONDITIONS}
    return tuple(CONDITIONS[kind](value) for kind, value in given.items() if value is not None)


def _action(settings: RuleSettings) -> Action:
    fixed = settings.fixed_response
    if settings.forward is not None:
        return Forward(tuple(WeightedGroup(each.group, each.weight) for each in settings.forward))
    if fixed is not None:
        return FixedResponse(fixed.status, fixed.content_type, fixed.body)
    assert settings.redirect is not None  # noqa: S101  # a rule has one action
    return _redirect(settings.redirect)


def _redirect(settings: RedirectSettings) -> Redirect:
    keeps_protocol = settings.protocol == "#{protocol}"
    port = settings.port if settings.port is not None else "#{port}" if keeps_protocol else ""
    return Redirect(
        status=settings.status,
        protocol=settings.protocol,
        host=settings.host,
        port=port,
        path=settings.path,
        query=settings.query,
    )


def _edits(settings: FieldEditSettings) -> FieldEdits | None:
    if not (settings.set or settings.add or settings.remove):
        return None
    return FieldEdits.of(settings.set, settings.add, settings.remove)
