"""Tells whoever is logged in from whoever is not, by samples of both.

Theory. Samples of one page, some with a login and some without, are compared feature by feature. A
feature tells them apart if it is the same in all samples of a kind and differs between the kinds. The
surest one is asked: a status, where a redirect leads, the user's name, a password field, the word
logout, the shape of JSON, and at last words that all pages of one kind have and none of the other.
The samples without a login come from every replica, so that what names a replica is no such word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.doctor.evidence import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limpet.doctor.evidence import Visit

    Feature = Callable[[Visit], object]

_FEATURES: dict[str, Feature] = {
    "the status": lambda visit: visit.status,
    "where it redirects": lambda visit: visit.location,
    "the user's name": lambda visit: visit.page.names_user,
    "the password field": lambda visit: visit.page.has_password_field,
    "the word logout": lambda visit: visit.page.has_logout_word,
    "the shape of the JSON": lambda visit: visit.page.json_shape,
    "the title": lambda visit: visit.page.title,
}


@dataclass(frozen=True, slots=True)
class Oracle:
    """What a page shows to whom.

    Attributes:
        told_by: the feature, for people.
    """

    told_by: str
    outcome: Callable[[Visit], Outcome]


def find_oracle(inside: Sequence[Visit], outside: Sequence[Visit]) -> Oracle | None:
    """Return what tells the samples apart; None if nothing does."""
    if not inside or not outside or any(is_error(visit) for visit in (*inside, *outside)):
        return None
    for name, feature in _FEATURES.items():
        mine, others = {feature(visit) for visit in inside}, {feature(visit) for visit in outside}
        if len(mine) == 1 and len(others) == 1 and mine != others:
            return Oracle(name, _by_value(feature, mine.pop(), others.pop()))
    return _by_words(inside, outside)


def is_error(visit: Visit) -> bool:
    """Whether an answer says nothing about a login: no answer, too many requests, a server's error."""
    return visit.status in {0, 429} or visit.status >= 500


def _by_value(feature: Feature, mine: object, others: object) -> Callable[[Visit], Outcome]:
    def outcome(visit: Visit) -> Outcome:
        if is_error(visit):
            return Outcome.NEITHER
        value = feature(visit)
        if value == mine:
            return Outcome.IN
        return Outcome.OUT if value == others else Outcome.NEITHER

    return outcome


def _by_words(inside: Sequence[Visit], outside: Sequence[Visit]) -> Oracle | None:
    everywhere = frozenset.union(*(visit.page.words for visit in inside))
    anywhere = frozenset.union(*(visit.page.words for visit in outside))
    mine = frozenset.intersection(*(visit.page.words for visit in inside)) - anywhere
    others = frozenset.intersection(*(visit.page.words for visit in outside)) - everywhere
    if not mine and not others:
        return None

    def outcome(visit: Visit) -> Outcome:
        if is_error(visit):
            return Outcome.NEITHER
        has_mine, has_others = bool(mine & visit.page.words), bool(others & visit.page.words)
        if has_mine == has_others:
            # With words of one kind only, their absence is the other kind.
            return Outcome.NEITHER if mine and others else (Outcome.OUT if mine else Outcome.IN)
        return Outcome.IN if has_mine else Outcome.OUT

    return Oracle("the words of the page", outcome)
