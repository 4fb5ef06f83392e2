"""Every store tells which secrets have signed its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.sessions import Sessions
from limpet.sessions.secret_ids import other_secrets

if TYPE_CHECKING:
    from limpet.sessions.stores import Store

SECRETS = [f"secret number {number} of this store" for number in range(3)]


def others(sessions: Sessions) -> list[str]:
    return sessions.run(other_secrets(sessions))


def test_a_secret_that_is_not_among_those_of_the_store(store: Store) -> None:
    stranger = Sessions(store, secret="the secret of a stranger", deadline_s=10)
    before = set(others(stranger))
    apps = [Sessions(store, secret=secret, deadline_s=10) for secret in SECRETS for _ in range(2)]
    for app in apps:
        app.tell_findings()
    for app in apps:
        app._check.join()  # type: ignore[union-attr]
    ids = {app.ring.ids[0] for app in apps}
    assert len(ids) == len(SECRETS)
    assert set(others(stranger)) - before == ids
    assert [others(app) for app in apps] == [[]] * len(apps)
    both = Sessions(store, secret=["a newer one that nobody uses yet", SECRETS[0]], deadline_s=10)
    assert others(both) == []
