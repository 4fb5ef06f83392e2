"""A file of targets: TOML, or JSON if its name ends in `.json`, with the list `targets` of a target group."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from limpet.config import compile as compiled
from limpet.config.load import describe, read_file
from limpet.config.schema import TargetSettings, as_target
from limpet.config.validate import target_problems
from limpet.core.address import parse_address
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from limpet.core.target import Target


class _TargetFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    targets: tuple[Annotated[TargetSettings, BeforeValidator(as_target)], ...]


def read_targets(path: Path) -> list[Target]:
    """Read a file of targets.

    Raises:
        ConfigError: with every mistake in it.
    """
    data = _read_json(path) if path.suffix == ".json" else read_file(path)
    try:
        found = _TargetFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error, _TargetFile)) from None
    problems = list(target_problems("targets", found.targets))
    for index, target in enumerate(found.targets):
        if parse_address(target.address, default_port=80).is_name:
            problems.append(f"targets.{index}.address: {target.address!r} is a name; write an IP address")
    if problems:
        raise ConfigError(problems)
    return compiled.targets(found.targets)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError([f"it cannot be read ({error.strerror})"]) from None
    except ValueError as error:
        raise ConfigError([f"it is not valid JSON ({error})"]) from None
