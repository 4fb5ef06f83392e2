"""Mistakes in the rules of listeners; pure, and never stops at the first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from limpet.config.compile_rules import ordered, pin_duration_s
from limpet.core.rules.actions.fixed_response import MAX_BODY_BYTES, WITHOUT_BODY
from limpet.core.rules.field_edits import UNTOUCHABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from limpet.config.rule_schema import FieldEditSettings, RuleSettings
    from limpet.config.schema import ListenerSettings, TargetGroupSettings

_ACTIONS = ("forward", "redirect", "fixed_response")


def rule_problems(path: str, rules: Sequence[RuleSettings], groups: Collection[str]) -> Iterator[str]:
    """Return every mistake in a listener's rules.

    Args:
        path: of the list of rules.
        groups: names of all target groups.
    """
    yield from _order(path, rules)
    for index, rule in enumerate(rules):
        place = f"{path}.{index}"
        given = [kind for kind in _ACTIONS if getattr(rule, kind) is not None]
        if not given:
            yield f"{place}: has no action; add one of {', '.join(_ACTIONS)}"
        elif len(given) > 1:
            yield f"{place}: has {len(given)} actions ({', '.join(given)}); remove all but one"
        yield from _forward(place, rule, groups)
        yield from _redirect(place, rule)
        yield from _fixed_response(place, rule)
        yield from _edits(f"{place}.request_headers", rule.request_headers, {"host"})
        yield from _edits(f"{place}.response_headers", rule.response_headers, set())
        if rule.forward is None and rule.request_headers.model_fields_set:
            yield f"{place}.request_headers: no target gets the request; remove it"


def pin_problems(listeners: Sequence[ListenerSettings]) -> Iterator[str]:
    """Return every mistake in the group stickiness of rules with one name on several listeners."""
    known: dict[str, int] = {}
    for number, listener in enumerate(listeners):
        for index, rule in enumerate(listener.rules):
            duration_s = pin_duration_s(rule)
            if rule.name is None or not duration_s:
                continue
            if known.setdefault(rule.name, duration_s) != duration_s:
                yield (
                    f"listeners.{number}.rules.{index}.group_stickiness_s: differs from that of another rule "
                    f"{rule.name!r}, which has the same cookie; make them equal, or rename one"
                )


def session_header_problems(
    listeners: Sequence[ListenerSettings], groups: Mapping[str, TargetGroupSettings]
) -> Iterator[str]:
    """Return every edit of a header that names sessions."""
    named = {
        group.stickiness.header.lower(): name
        for name, group in groups.items()
        if group.stickiness.type == "header" and group.stickiness.header is not None
    }
    for number, listener in enumerate(listeners):
        for index, rule in enumerate(listener.rules):
            for kind, edits in (
                ("request_headers", rule.request_headers),
                ("response_headers", rule.response_headers),
            ):
                for field in (*edits.set, *edits.add, *edits.remove):
                    if field.lower() in named:
                        yield (
                            f"listeners.{number}.rules.{index}.{kind}: {field!r} names the sessions of group "
                            f"{named[field.lower()]!r}; leave it as it is"
                        )


def _order(path: str, rules: Sequence[RuleSettings]) -> Iterator[str]:
    priorities = [rule.priority for rule in rules]
    if any(priority is None for priority in priorities) and any(priorities):
        for index, priority in enumerate(priorities):
            if priority is None:
                yield f"{path}.{index}.priority: is missing, and others have one; add it, or remove all"
    for priority, count in Counter(priorities).items():
        if priority is not None and count > 1:
            yield f"{path}: the priority {priority} stands {count} times; give each rule its own"
    for name, count in Counter(name for name, _ in ordered(rules)).items():
        if count > 1:
            yield f"{path}: the name {name!r} stands {count} times; give each rule its own"


def _forward(place: str, rule: RuleSettings, groups: Collection[str]) -> Iterator[str]:
    if rule.forward is None:
        if rule.group_stickiness_s is not None:
            yield f"{place}.group_stickiness_s: is for forward; remove it"
        return
    for name, count in Counter(each.group for each in rule.forward).items():
        if name not in groups:
            yield f"{place}.forward: {name!r} is no group; choose one of {', '.join(groups)}"
        if count > 1:
            yield f"{place}.forward: {name!r} stands {count} times; add up the weights"
    if not any(each.weight for each in rule.forward):
        yield f"{place}.forward: every weight is 0, so nobody new is served; give one group a weight"
    if pin_duration_s(rule) and rule.name is None:
        yield f"{place}.name: is missing; group stickiness needs one, because its cookie is named by it"


def _redirect(place: str, rule: RuleSettings) -> Iterator[str]:
    if rule.redirect is not None and not rule.redirect.model_fields_set - {"status"}:
        yield f"{place}.redirect: leads back to where it comes from; change its host, path or another part"


def _fixed_response(place: str, rule: RuleSettings) -> Iterator[str]:
    fixed = rule.fixed_response
    if fixed is None:
        return
    if 300 <= fixed.status <= 399:
        yield f"{place}.fixed_response.status: {fixed.status} is no answer; use redirect"
    if fixed.status in WITHOUT_BODY and fixed.body:
        yield f"{place}.fixed_response.body: a {fixed.status} has none; remove it"
    size = len(fixed.body.encode())
    if size > MAX_BODY_BYTES:
        yield f"{place}.fixed_response.body: has {size} bytes; at most {MAX_BODY_BYTES} are possible"


def _edits(path: str, edits: FieldEditSettings, settable: set[str]) -> Iterator[str]:
    for kind, names in (("set", edits.set), ("add", edits.add), ("remove", edits.remove)):
        for name in names:
            lowered = name.lower().replace("_", "-")
            if lowered in UNTOUCHABLE or (lowered == "host" and not (kind == "set" and "host" in settable)):
                yield f"{path}.{kind}: {name!r} is limpet's or the connection's own; remove it"
    for name in {name.lower() for name in edits.remove} & {name.lower() for name in edits.set}:
        yield f"{path}.remove: {name!r} is set too; remove one of the two"
