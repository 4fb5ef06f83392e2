"""In and out are told by what all strangers share and a session differs in."""

from __future__ import annotations

from typing import Any

import pytest

from limpet.doctor.evidence import Outcome, PageFact, Visit
from limpet.doctor.oracle import choose


def visit(status: int = 200, location: str = "", **page: Any) -> Visit:
    return Visit(status=status, location=location, page=PageFact(**page))


IN, OUT, NEITHER = Outcome.IN, Outcome.OUT, Outcome.NEITHER


@pytest.mark.parametrize(
    ("stranger", "member", "sentence"),
    [
        (visit(names_user=False), visit(names_user=True), "name"),
        (visit(), visit(has_logout_word=True), "log out"),
        (visit(has_password_field=True), visit(), "password"),
        (visit(302, "/login"), visit(), "status"),
        (visit(401), visit(), "status"),
        (visit(json_shape="a"), visit(json_shape="b"), "JSON"),
        (visit(title="a"), visit(title="b"), "title"),
        (visit(is_marked=False), visit(is_marked=True, title="b"), "mark"),
        (visit(words=frozenset("abc")), visit(words=frozenset("acx")), "words"),
    ],
)
def test_a_feature_is_found_though_most_sessions_are_lost(
    stranger: Visit, member: Visit, sentence: str
) -> None:
    oracle = choose([stranger] * 5, [stranger, member, stranger, member])
    assert oracle is not None
    assert sentence in oracle.sentence
    assert [oracle.outcome(each) for each in (stranger, member)] == [OUT, IN]


def test_a_mark_that_strangers_have_too_is_none() -> None:
    assert choose([visit(is_marked=True)] * 5, [visit(is_marked=True, names_user=True)]) is None


def test_a_mark_is_believed_before_anybody_was_in() -> None:
    oracle = choose([visit(is_marked=False)] * 5, [visit(is_marked=False)])
    assert oracle is not None
    assert oracle.outcome(visit(is_marked=False)) is OUT


def test_what_strangers_disagree_about_is_no_feature() -> None:
    strangers = [visit(title="a"), visit(title="b"), visit(title="a"), visit(title="b")]
    assert choose(strangers, [visit(title="c")]) is None


def test_without_a_difference_there_is_no_oracle() -> None:
    assert choose([visit()] * 5, [visit()] * 5) is None
    assert choose([visit()] * 2, [visit(names_user=True)]) is None


def test_errors_and_challenges_are_neither() -> None:
    oracle = choose([visit(401)] * 5, [visit()])
    assert oracle is not None
    assert {oracle.outcome(visit(status)) for status in (0, 400, 429, 431, 500, 503)} == {NEITHER}
    assert oracle.outcome(visit(403)) is NEITHER


def test_a_form_of_its_own_is_neither() -> None:
    oracle = choose([visit(title="a")] * 5, [visit(title="b")])
    assert oracle is not None
    assert oracle.outcome(visit(title="checking your browser")) is NEITHER
