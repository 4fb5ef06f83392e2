"""Conditions of rules.

To add one: a file here, a line in `CONDITIONS`, a field in the schema, a line in docs/rules.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limpet.core.rules.conditions.header import Header
from limpet.core.rules.conditions.host import Host
from limpet.core.rules.conditions.method import Method
from limpet.core.rules.conditions.path import Path
from limpet.core.rules.conditions.path_prefix import PathPrefix
from limpet.core.rules.conditions.query import Query
from limpet.core.rules.conditions.source_ip import SourceIp

if TYPE_CHECKING:
    from collections.abc import Callable

    from limpet.core.rules.rule import Condition

#: By kind; each takes its setting: patterns, or patterns by name.
CONDITIONS: dict[str, Callable[[Any], Condition]] = {
    "host": Host,
    "path": Path,
    "path_prefix": PathPrefix,
    "header": Header,
    "query": Query,
    "method": Method,
    "source_ip": SourceIp,
}
