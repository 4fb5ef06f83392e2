"""Actions of rules.

To add one: a file here, a line in `ACTIONS`, a field in the schema, a line in docs/rules.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limpet.core.rules.actions.fixed_response import FixedResponse
from limpet.core.rules.actions.forward import Forward
from limpet.core.rules.actions.redirect import Redirect

if TYPE_CHECKING:
    from limpet.core.rules.rule import Action

ACTIONS: dict[str, type[Action]] = {
    "forward": Forward,
    "redirect": Redirect,
    "fixed_response": FixedResponse,
}
