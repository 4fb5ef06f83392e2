"""Reads a configuration and reports every mistake at once.

A mistake is one line: `path: what is wrong; what to do`. TOML's own errors come alone, because
nothing after them can be read.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from limpet.config.rule_problems import rule_problems
from limpet.config.schema import (
    AdminSettings,
    ListenerSettings,
    Settings,
    TargetGroupSettings,
)
from limpet.config.validate import admin_problems, group_problems, listener_problems, problems
from limpet.config.value_types import FIELD_NAME_PATTERN, FIELD_NAME_WORDS, NAME_PATTERN, NAME_WORDS
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails


def load_file(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: with every mistake in it.
    """
    return load_data(read_file(path))


def read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file as plain data, not checked yet.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(
            [f"{path}: cannot be read ({error.strerror}); check the path and its rights"]
        ) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8; save it as UTF-8"]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not valid TOML ({error}); correct that line"]) from None


def load_data(data: dict[str, Any]) -> Settings:
    """Check a configuration given as plain data.

    Raises:
        ConfigError: with every mistake in it.
    """
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(describe(error) + _problems_of_parts(data, error.errors())) from None
    found = problems(settings)
    if found:
        raise ConfigError(found)
    return settings


def describe(error: ValidationError, model: type[BaseModel] = Settings) -> list[str]:
    """Return each mistake that the schema found, as `path: what is wrong; what to do`.

    Args:
        model: what was validated.
    """
    return [_line(detail, model) for detail in _causes(error.errors())]


def _problems_of_parts(data: dict[str, Any], details: list[ErrorDetails]) -> list[str]:
    # Rules within a part can be tried if the schema found nothing wrong in that part.
    wrong = {detail["loc"][:2] for detail in details} | {detail["loc"][:1] for detail in details}
    found: list[str] = []
    if "admin" in data and ("admin",) not in wrong:
        found += admin_problems(AdminSettings.model_validate(data["admin"]))
    groups = data.get("target_groups")
    listeners = data.get("listeners")
    for index, listener in enumerate(listeners if isinstance(listeners, list) else ()):
        if ("listeners", index) not in wrong and ("listeners",) not in wrong:
            made = ListenerSettings.model_validate(listener)
            found += listener_problems(index, made)
            if isinstance(groups, dict):
                found += rule_problems(f"listeners.{index}.rules", made.rules, groups)
    for name, group in groups.items() if isinstance(groups, dict) else ():
        if ("target_groups", name) not in wrong:
            found += group_problems(name, TargetGroupSettings.model_validate(group))
    return found


def _causes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    # A list with a wrong item is also "too short" to pydantic: only the item is the cause.
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if not any(
            len(place) > len(detail["loc"]) and place[: len(detail["loc"])] == detail["loc"]
            for place in places
        )
    ]


def _line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    value = detail["input"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{path}: unknown setting; {_nearest(detail['loc'], model)}"
    if kind == "missing":
        return f"{path}: is missing; add it"
    if kind == "too_short":
        return f"{path}: is empty; add at least one"
    if kind == "value_error":
        what, _, advice = str(detail["msg"]).removeprefix("Value error, ").partition("; ")
        return f"{path}: {what}; {advice or 'correct it'}"
    shown = repr(value) if not isinstance(value, dict | list | tuple) else f"a {type(value).__name__}"
    return f"{path.removesuffix('.[key]')}: {shown[:80]} is not allowed; {_advice(detail)}"


#: What pydantic says of these is about Python, not about TOML.
_WORDS = {
    "tuple_type": "it should be a list: [...]",
    "model_type": "it should be a table: {...}",
    "dict_type": "it should be a table: {...}",
    "bool_type": "it should be true or false",
    "int_type": "it should be a whole number, without quotes",
    "int_parsing": "it should be a whole number",
    "float_type": "it should be a number, without quotes",
    "string_type": "it should be a text in quotes",
    "path_type": "it should be a path in quotes",
    "finite_number": "it should be a number",
}


_PATTERNS = {NAME_PATTERN: NAME_WORDS, FIELD_NAME_PATTERN: FIELD_NAME_WORDS}


def _advice(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "string_pattern_mismatch":
        pattern = detail["ctx"]["pattern"]
        return f"write {_PATTERNS[pattern]}" if pattern in _PATTERNS else f"it should match {pattern}"
    message = detail["msg"][0].lower() + detail["msg"][1:]
    return _WORDS.get(kind, message.replace("input should", "it should"))


def _nearest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    names = _names_at(location[:-1], model)
    near = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the settings here are {', '.join(names)}"


def _names_at(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    # Walks the schema along a location; parts that are indexes or free names step over a level.
    parts = iter(location)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        inner = _model_in(field.annotation)
        if inner is not None:
            model = inner
        if typing.get_origin(field.annotation) is dict:
            next(parts, None)  # a free name, which may be that of a field
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    origin = getattr(annotation, "__origin__", None)
    return _model_in(origin) if isinstance(origin, type) and issubclass(origin, BaseModel) else None
