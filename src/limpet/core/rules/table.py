"""The rules of one listener, in order; the first that matches decides.

Theory of operation. `Places` tells which rules may match; they are tried one by one, for each reading
of the path. Clients ask for the same pages again and again: where the request line and the host alone
decide, because no rule that may match them asks for more, a group that they led to is remembered by
their exact bytes. The memory is bounded, and belongs to one table, so a reload begins a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.conditions.path import Path
from limpet.core.rules.conditions.path_prefix import PathPrefix
from limpet.core.rules.places import Places
from limpet.core.rules.reading import read_path
from limpet.core.rules.rule import Rule
from limpet.core.rules.subject import Subject, read_host
from limpet.core.rules.verdict import Verdict
from limpet.errors import ErrorKind, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.request import RequestHead
    from limpet.core.rules.rule import Surroundings


#: Request lines remembered; when there are more, all are forgotten.
_MAX_KNOWN = 1024
#: Longer ones are judged every time, so that nobody can fill the memory with them.
_MAX_KNOWN_BYTES = 512


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
        self._known: dict[tuple[bytes, bytes, bytes], Verdict | None] = {}
        self._reads_paths = any(
            isinstance(condition, Path | PathPrefix) for rule in rules for condition in rule.conditions
        )
        self._places = Places(rules)

    def find(self, request: RequestHead) -> Rule | None:
        """Return the first rule that matches; None if none does.

        Raises:
            ProtocolError: nobody can say which; for instance, the path can be read in ways that
                different rules match.
        """
        return self._find(request, Rule.matches)

    def plain(self, request: RequestHead) -> Verdict | None:
        """Return the verdict if it says no more than a target group's name; else None."""
        line = (request.path, request.fields.host, request.method)
        is_new = line not in self._known
        verdict = None if is_new else self._known[line]
        if verdict is not None:
            return verdict
        try:
            rule = self.find(request)
        except ProtocolError:
            return None
        verdict = self._plain_default if rule is None else rule.plain
        if verdict is not None and is_new:
            self._remember(line, verdict if self._is_told_by_line(request, rule) else None)
        return verdict

    def _find(self, request: RequestHead, matches: Callable[[Rule, Subject], bool]) -> Rule | None:
        host = read_host(request.fields.host)
        if not self._reads_paths:
            return self._first(Subject(request, host, ""), matches)
        readings = read_path(request.path)
        rule = self._first(Subject(request, host, readings[0]), matches)
        for reading in readings[1:]:
            if self._first(Subject(request, host, reading), matches) is not rule:
                raise ProtocolError(
                    ErrorKind.BAD_REQUEST, "the path can be read in several ways that different rules match"
                )
        return rule

    def _first(self, subject: Subject, matches: Callable[[Rule, Subject], bool]) -> Rule | None:
        for rule in self._places.rules_at(subject.host, subject.path):
            if matches(rule, subject):
                return rule
        return None

    def _is_told_by_line(self, request: RequestHead, rule: Rule | None) -> bool:
        # The same rule is the first whose conditions on the line hold, and has no others.
        try:
            by_line = self._find(request, Rule.may_match)
        except ProtocolError:
            return False
        return by_line is rule and (rule is None or not rule.other_conditions)

    def _remember(self, line: tuple[bytes, bytes, bytes], verdict: Verdict | None) -> None:
        if sum(map(len, line)) <= _MAX_KNOWN_BYTES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[line] = verdict

    def decide(self, request: RequestHead, around: Surroundings) -> Verdict:
        """Say what becomes of a request."""
        try:
            rule = self.find(request)
        except ProtocolError as error:
            return Verdict(rule="-", error=error.kind, detail=error.detail)
        if rule is None:
            return self._default
        return rule.settled or rule.action.act(rule, request, around)
