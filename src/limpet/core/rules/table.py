"""The rules of one listener, in order; the first that matches decides.

Theory of operation. Asking every rule costs time with every rule. So rules are sorted beforehand
under the hosts they name, and below each host under the first segment of the paths they name; a
request is asked for its host and its first segment, and then only the rules found there are
tried, in their order. A rule whose host or path has a wildcard there is found everywhere. What is
found is always a superset of what matches: the index saves time and decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.conditions.host import Host
from limpet.core.rules.conditions.path import Path
from limpet.core.rules.conditions.path_prefix import PathPrefix
from limpet.core.rules.reading import read_path
from limpet.core.rules.subject import Subject, read_host
from limpet.core.rules.verdict import Verdict
from limpet.errors import ErrorKind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.core.request import RequestHead
    from limpet.core.rules.rule import Rule, Surroundings


class RuleTable:
    """A listener's rules and its default.

    Args:
        rules: in order.
        default_group: gets what no rule matches; "" for nobody.
    """

    def __init__(self, rules: tuple[Rule, ...], default_group: str) -> None:
        self.rules = rules
        self._default = (
            Verdict(rule="-", group=default_group)
            if default_group
            else Verdict(rule="-", error=ErrorKind.NO_RULE, detail="nothing is served at this address")
        )
        self._plain_default = self._default if default_group else None
        self._reads_paths = any(
            isinstance(condition, Path | PathPrefix) for rule in rules for condition in rule.conditions
        )
        hosts = {host for rule in rules for named in _hosts(rule) for host in named.patterns.literal}
        self._by_host = {host: _Places(_for_host(rules, host)) for host in hosts}
        self._elsewhere = _Places(rule for rule in rules if not _names_only_literal_hosts(rule))

    def find(self, request: RequestHead) -> Rule | None:
        """Return the first rule that matches; None if none does.

        Raises:
            ProtocolError: nobody can say which; for instance, the path can be read in ways that
                different rules match.
        """
        host = read_host(request.fields.host)
        places = self._by_host.get(host, self._elsewhere)
        if not self._reads_paths:
            return places.first(Subject(request, host, ""))
        readings = read_path(request.path)
        rule = places.first(Subject(request, host, readings[0]))
        for reading in readings[1:]:
            if places.first(Subject(request, host, reading)) is not rule:
                raise ProtocolError(
                    ErrorKind.BAD_REQUEST, "the path can be read in several ways that different rules match"
                )
        return rule

    def plain(self, request: RequestHead) -> Verdict | None:
        """Return the verdict if it says no more than a target group's name; else None."""
        try:
            rule = self.find(request)
        except ProtocolError:
            return None
        return self._plain_default if rule is None else rule.plain

    def decide(self, request: RequestHead, around: Surroundings) -> Verdict:
        """Say what becomes of a request."""
        try:
            rule = self.find(request)
        except ProtocolError as error:
            return Verdict(rule="-", error=error.kind, detail=error.detail)
        if rule is None:
            return self._default
        return rule.settled or rule.action.act(rule, request, around)


class _Places:
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

    def first(self, subject: Subject) -> Rule | None:
        rules = self._elsewhere
        if self._by_segment:
            rules = self._by_segment.get(_first_segment(subject.path), rules)
        for rule in rules:
            if rule.matches(subject):
                return rule
        return None


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
