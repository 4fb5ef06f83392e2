"""What is allowed and probably not meant; told at the start, at a reload and by `limpet up --check`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from limpet.config.compile_rules import ordered, pin_duration_s
from limpet.core.rules.conditions import CONDITIONS
from limpet.core.rules.patterns import WILDCARDS, Patterns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from limpet.config.rule_schema import RuleSettings
    from limpet.config.schema import Settings


def warnings(settings: Settings) -> list[str]:
    """Return every warning, each as `path: what is odd; what to do`."""
    found: list[str] = []
    for number, listener in enumerate(settings.listeners):
        path = f"listeners.{number}.rules"
        found += _unreachable(path, listener.rules)
        found += _unpinned(path, listener.rules, settings)
    return found


def _unreachable(path: str, rules: Sequence[RuleSettings]) -> Iterator[str]:
    index_of = {id(rule): index for index, rule in enumerate(rules)}
    tried = ordered(rules)
    for place, (_, rule) in enumerate(tried):
        for name, earlier in tried[:place]:
            if covers(earlier, rule):
                index = index_of[id(rule)]
                yield f"{path}.{index}: is never reached, because {name!r} comes first; move or remove it"
                break


def _unpinned(path: str, rules: Sequence[RuleSettings], settings: Settings) -> Iterator[str]:
    for index, rule in enumerate(rules):
        groups = rule.forward or ()
        if len(groups) < 2 or pin_duration_s(rule):
            continue
        sticky = [g.group for g in groups if settings.target_groups[g.group].stickiness.type != "off"]
        if sticky:
            yield (
                f"{path}.{index}.group_stickiness_s: is 0, so clients lose their place in {sticky[0]!r} with "
                "every other group they are drawn to; remove it, unless every session is in a shared store"
            )


def covers(earlier: RuleSettings, later: RuleSettings) -> bool:
    """Return whether every request that `later` matches is matched by `earlier`, as far as can be told."""
    return all(
        _is_covered(kind, getattr(earlier, kind), later)
        for kind in CONDITIONS
        if getattr(earlier, kind) is not None
    )


def _is_covered(kind: str, wide: object, later: RuleSettings) -> bool:
    narrow = getattr(later, kind)
    if isinstance(wide, dict):
        return _is_covered_by_name(wide, narrow or {})
    assert isinstance(wide, tuple)  # noqa: S101  # a condition is one or the other
    if kind in {"path", "path_prefix"}:
        return _is_covered_path(kind, wide, later)
    if narrow is None:
        return False
    covered: Callable[[str, str], bool] = {
        "host": _covers_pattern,
        "method": lambda a, b: a == b,
        "source_ip": _covers_network,
    }[kind]
    return all(any(covered(a, b) for a in wide) for b in narrow)


def _is_covered_by_name(wide: Mapping[str, tuple[str, ...]], narrow: Mapping[str, tuple[str, ...]]) -> bool:
    lowered = {name.lower(): patterns for name, patterns in narrow.items()}
    return all(
        name.lower() in lowered
        and all(any(_covers_pattern(a, b) for a in patterns) for b in lowered[name.lower()])
        for name, patterns in wide.items()
    )


def _is_covered_path(kind: str, wide: tuple[str, ...], later: RuleSettings) -> bool:
    # The two path conditions of `later` both hold, so it is enough if one of them is covered.
    as_patterns = wide if kind == "path" else tuple(f"{prefix.rstrip('/')}/*" for prefix in wide)
    below = [f"{prefix.rstrip('/')}/*" for prefix in later.path_prefix or ()]
    exact = {prefix.rstrip("/").casefold() for prefix in wide} if kind == "path_prefix" else set()
    by_path = later.path is not None and all(
        text.casefold() in exact or any(_covers_pattern(a, text) for a in as_patterns) for text in later.path
    )
    by_prefix = bool(below) and all(
        any(_covers_pattern(a, text) for a in as_patterns)
        and (kind == "path_prefix" or any(_covers_pattern(a, text.removesuffix("/*")) for a in as_patterns))
        for text in below
    )
    return by_path or by_prefix


def _covers_pattern(wide: str, narrow: str) -> bool:
    wide, narrow = wide.casefold(), narrow.casefold()
    if wide in {"*", narrow}:
        return True
    if wide.endswith("*") and WILDCARDS.isdisjoint(wide[:-1]):
        return narrow.startswith(wide[:-1])
    if wide.startswith("*") and WILDCARDS.isdisjoint(wide[1:]):
        return narrow.endswith(wide[1:])
    return WILDCARDS.isdisjoint(narrow) and narrow in Patterns((wide,))


def _covers_network(wide: str, narrow: str) -> bool:
    a, b = ip_network(wide, strict=False), ip_network(narrow, strict=False)
    return a.version == b.version and b.subnet_of(a)  # type: ignore[arg-type]  # of one version
