"""The shop of the examples on a machine that is busy with other tests: its store has seconds to answer.

What is tested with it is that sessions move without a loss, not how fast a store is; with the usual quarter
of a second a starved machine answers 503, as it should.
"""

from __future__ import annotations

from limpet.sessions.service import Sessions

Sessions.__init__.__kwdefaults__["deadline_s"] = 10.0

from examples.fastapi_shared import app  # noqa: E402  # it makes its sessions when it is imported

__all__ = ["app"]
