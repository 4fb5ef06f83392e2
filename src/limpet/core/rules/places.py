"""Rules by the places they speak of, so that a request need not be asked for by every rule.

Theory of operation. Rules are sorted beforehand under the hosts they name, and below each host under
the first segment of the paths they name. A request is looked up by its host and its first segment, and
only the rules found there are tried, in their order. A rule whose host or path has a wildcard there is
found everywhere. What is found is a superset of what matches: the index saves time and decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.conditions.host import Host
from limpet.core.rules.conditions.path import Path
from limpet.core.rules.conditions.path_prefix import PathPrefix

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.core.rules.rule import Rule


class Places:
    """An index of rules.

    Args:
        rules: in order.
    """

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        hosts = {host for rule in rules for named in _hosts(rule) for host in named.patterns.literal}
        self._by_host = {host: _Paths(_for_host(rules, host)) for host in hosts}
        self._elsewhere = _Paths([rule for rule in rules if not _names_only_literal_hosts(rule)])

    def rules_at(self, host: str, path: str) -> tuple[Rule, ...]:
        """Return the rules that may match a host and a path, in order.

        Args:
            path: one of its readings; "" if no rule has a condition on it.
        """
        return self._by_host.get(host, self._elsewhere).rules_at(path)


class _Paths:
    # Rules by the first segment of the paths they name; those that name none are in every list.
    __slots__ = ("_by_segment", "_elsewhere")

    def __init__(self, rules: Iterable[Rule]) -> None:
        placed = [(rule, _segments(rule)) for rule in rules]
        segments = {segment for _, named in placed if named is not None for segment in named}
        self._by_segment = {
            segment: tuple([rule for rule, named in placed if named is None or segment in named])
            for segment in segments
        }
        self._elsewhere = tuple([rule for rule, named in placed if named is None])

    def rules_at(self, path: str) -> tuple[Rule, ...]:
        if not self._by_segment:
            return self._elsewhere
        return self._by_segment.get(_first_segment(path), self._elsewhere)


def _hosts(rule: Rule) -> list[Host]:
    return [condition for condition in rule.conditions if isinstance(condition, Host)]


def _names_only_literal_hosts(rule: Rule) -> bool:
    return any(not named.patterns.wild for named in _hosts(rule))


def _for_host(rules: Iterable[Rule], host: str) -> list[Rule]:
    return [rule for rule in rules if all(host in named.patterns for named in _hosts(rule))]


def _first_segment(path: str) -> str:
    end = path.find("/", 1)
    return path[1:end] if end > 0 else path[1:]


def _segments(rule: Rule) -> set[str] | None:
    # The first segments that a rule's path can have; None if it may have any.
    for condition in rule.conditions:
        if isinstance(condition, Path):
            segments = {_literal_segment(text) for text in condition.patterns.wild}
            segments |= {_first_segment(text) for text in condition.patterns.literal}
        elif isinstance(condition, PathPrefix):
            segments = {_first_segment(prefix) or None for prefix in condition.prefixes}
        else:
            continue
        if None not in segments:
            return {segment for segment in segments if segment is not None}
    return None


def _literal_segment(pattern: str) -> str | None:
    if not pattern.startswith("/"):
        return None
    segment, has_end, _ = pattern[1:].partition("/")
    return segment if has_end and "*" not in segment and "?" not in segment else None
