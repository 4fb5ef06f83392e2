"""The OpenAPI document of the admin API. Source: OpenAPI 3.1.0."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from limpet import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.control.admin.api import Call

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "problems": {"type": "array", "items": {"type": "string"}}},
}
#: What the guard answers, to any call.
_GUARD = {
    401: "The token is missing or wrong.",
    403: "A page of another site may not call this, or the listener is read-only.",
    415: "It is no JSON.",
}
#: Of answers that are no JSON, by the call's name.
_MEDIA_TYPES = {"metrics": "text/plain", "events": "text/event-stream"}


def document(calls: Iterable[Call]) -> dict[str, Any]:
    """Return the document of some calls."""
    paths: dict[str, Any] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {"title": "limpet's admin API", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(call: Call) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in re.findall(r"{(\w+)}", call.path)
        ],
        "responses": {str(status): _response(call, status, why) for status, why in _statuses(call).items()},
    }
    if call.body is not None:
        operation["requestBody"] = {
            "required": bool(call.body.model_fields),
            "content": {"application/json": {"schema": call.body.model_json_schema()}},
        }
    return operation


def _statuses(call: Call) -> dict[int, str]:
    guard = _GUARD if call.body is not None else {status: _GUARD[status] for status in (401, 403)}
    return call.statuses | guard


def _response(call: Call, status: int, why: str) -> dict[str, Any]:
    if call.name in _MEDIA_TYPES and status == 200:
        return {"description": why, "content": {_MEDIA_TYPES[call.name]: {"schema": {"type": "string"}}}}
    schema = {"$ref": "#/components/schemas/Error"} if status >= 400 else {"type": "object"}
    return {"description": why, "content": {"application/json": {"schema": schema}}}
