"""Is this the answer of somebody logged in?

A wrong oracle makes everything wrong, so it is chosen by one rule: a feature counts if all visits
without cookies agree on it and a visit with a session differs. On a site that loses sessions the
visits with one do not agree among themselves, and need not. Features are tried in the order of how
rarely they mislead. An answer that has neither form is neither in nor out, as is every error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from limpet.doctor.evidence import Visit

#: Statuses that say something about the request or the server, and nothing about the session.
_NEITHER = frozenset({0, 400, 408, 413, 421, 425, 429, 431})
#: Fewer visits without cookies than this prove no feature.
_FEWEST = 3


@dataclass(frozen=True, slots=True)
class _Feature:
    sentence: str
    read: Callable[[Visit], Hashable]


_FEATURES = (
    _Feature("the user's name on the page", lambda visit: visit.page.names_user),
    _Feature("a way to log out on the page", lambda visit: visit.page.has_logout_word),
    _Feature("no password field on the page", lambda visit: visit.page.has_password_field),
    _Feature("status and redirect", lambda visit: (visit.status, visit.location)),
    _Feature("the keys of the JSON body", lambda visit: visit.page.json_shape),
    _Feature("the page's title", lambda visit: visit.page.title),
)
#: The value that means "in" where only one can.
_MEANS_IN: dict[str, Hashable] = {
    "the user's name on the page": True,
    "a way to log out on the page": True,
    "no password field on the page": False,
}


@dataclass(frozen=True, slots=True)
class Oracle:
    """Tells in from out by one feature."""

    sentence: str
    _judge: Callable[[Visit], Outcome]
    _anonymous_statuses: frozenset[int]

    def outcome(self, visit: Visit) -> Outcome:
        """Return what an answer means."""
        if visit.status >= 500 or visit.status in _NEITHER - self._anonymous_statuses:
            return Outcome.NEITHER
        return self._judge(visit)

    def judged(self, visit: Visit) -> Visit:
        """Return a visit with its outcome."""
        return replace(visit, outcome=self.outcome(visit))


def choose(anonymous: Sequence[Visit], with_session: Sequence[Visit]) -> Oracle | None:
    """Return the best oracle; None if no feature tells the visits apart.

    Args:
        anonymous: visits without cookies.
        with_session: visits with the cookies of a login; some may be out.
    """
    said = [visit for visit in anonymous if _says_something(visit)]
    other = [visit for visit in with_session if _says_something(visit)]
    if len(said) < _FEWEST or not other:
        return None
    statuses = frozenset(visit.status for visit in said)
    if any(visit.page.is_marked is not None for visit in said):
        return _by_mark(said, statuses)
    for feature in _FEATURES:
        judge = _by_feature(feature, said, other)
        if judge is not None:
            return Oracle(feature.sentence, judge, statuses)
    judge = _by_words(said, other)
    return Oracle("words of the page", judge, statuses) if judge else None


def _by_mark(anonymous: list[Visit], statuses: frozenset[int]) -> Oracle | None:
    # Whoever names a mark is believed, unless strangers have it too.
    if any(visit.page.is_marked for visit in anonymous):
        return None
    return Oracle(
        "the mark that was given",
        lambda visit: Outcome.IN if visit.page.is_marked else Outcome.OUT,
        statuses,
    )


def _says_something(visit: Visit) -> bool:
    return visit.status < 500 and visit.status not in {0, 429}


def _by_feature(
    feature: _Feature, anonymous: list[Visit], with_session: list[Visit]
) -> Callable[[Visit], Outcome] | None:
    values = {feature.read(visit) for visit in anonymous}
    if len(values) != 1:
        return None
    (out,) = values
    others = {feature.read(visit) for visit in with_session} - {out}
    wanted = _MEANS_IN.get(feature.sentence)
    if wanted is not None:
        others &= {wanted}
    if not others or None in values:
        return None

    def judge(visit: Visit) -> Outcome:
        value = feature.read(visit)
        if value == out:
            return Outcome.OUT
        return Outcome.IN if value in others else Outcome.NEITHER

    return judge


def _by_words(anonymous: list[Visit], with_session: list[Visit]) -> Callable[[Visit], Outcome] | None:
    always = frozenset.intersection(*(visit.page.words for visit in anonymous))
    ever = frozenset.union(*(visit.page.words for visit in anonymous))
    # A word that only one visit has may be a nonce; what several visits with a session share is not.
    new = [visit.page.words - ever for visit in with_session if always - visit.page.words]
    shared = frozenset.intersection(*new) if len(new) >= 2 else frozenset()
    if not shared:
        return None
    missing = always - frozenset.union(
        *(visit.page.words for visit in with_session if visit.page.words & shared)
    )
    if not missing:
        return None

    def judge(visit: Visit) -> Outcome:
        if missing <= visit.page.words:
            return Outcome.OUT
        return Outcome.IN if shared <= visit.page.words else Outcome.NEITHER

    return judge
