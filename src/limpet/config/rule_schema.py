"""Rules of listeners in the configuration file, as pydantic models; see `schema.py`."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from limpet.config.value_types import FieldName, Name, Whole
from limpet.core.rules.actions.fixed_response import MAX_BODY_BYTES
from limpet.core.rules.actions.redirect import PLACEHOLDER, PLACEHOLDERS

FieldValue = Annotated[str, Field(pattern=r"^([!-~]([ -~]*[!-~])?)?$", max_length=4096)]


#: What a resolved path (see `core.rules.reading`) never has.
_NEVER_READ = re.compile(r"//|/\.\.?(/|$)|[;\\]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _network(value: str) -> str:
    ip_network(value, strict=False)
    return value


def _placeholders(value: str) -> str:
    for name in PLACEHOLDER.findall(value):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"#{{{each}}}" for each in sorted(PLACEHOLDERS))
            raise ValueError(f"#{{{name}}} is no placeholder; there are {known}")
    return value


def _readable(value: str) -> str:
    if "%" in value:
        raise ValueError(f"{value!r} has an escape; write the characters that are meant")
    if _NEVER_READ.search(value):
        raise ValueError(f"{value!r} matches no path that is read; leave out //, dot segments, ; and \\")
    return value


def _as_groups(value: Any) -> Any:
    items = (value,) if isinstance(value, str) else value
    if isinstance(items, list | tuple):
        return tuple({"group": item} if isinstance(item, str) else item for item in items)
    return items


Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_as_list), Field(min_length=1)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9.*?_:\[\]-]{1,255}$")]
PathPattern = Annotated[
    str, Field(pattern=r"^[/*?][^\x00-\x1f]*$", max_length=1024), AfterValidator(_readable)
]
Prefix = Annotated[str, Field(pattern=r"^/[^\x00-\x1f*?]*$", max_length=1024), AfterValidator(_readable)]
Method = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_-]{0,31}$")]
Network = Annotated[str, AfterValidator(_network)]


class WeightedGroupSettings(_Strict):
    """One of the target groups of a rule: a string with its name, or a table."""

    group: Name = Field(description="Name of the target group.")
    weight: Whole = Field(
        1, ge=0, le=1000, description="Share of new clients; 0 keeps its clients and gets no new one."
    )


class RedirectSettings(_Strict):
    """An answer that sends the client elsewhere."""

    status: Literal[301, 302, 303, 307, 308] = Field(302, description="Status of the answer.")
    protocol: Literal["http", "https", "#{protocol}"] = Field("#{protocol}", description="New protocol.")
    host: Annotated[str, Field(pattern=r"^[!-~]+$"), AfterValidator(_placeholders)] = Field(
        "#{host}", description="New host."
    )
    port: Annotated[str, Field(pattern=r"^([0-9]{1,5}|#\{port\})$")] | None = Field(
        None, description="New port; that of the request, or the usual one where the protocol changes."
    )
    path: Annotated[str, Field(pattern=r"^/[!-~]*$"), AfterValidator(_placeholders)] = Field(
        "/#{path}", description="New path; `#{path}` has no slash at its beginning."
    )
    query: Annotated[str, Field(pattern=r"^[!-~]*$"), AfterValidator(_placeholders)] = Field(
        "#{query}", description="New query, without a question mark."
    )


class FixedResponseSettings(_Strict):
    """An answer that is always the same."""

    status: Whole = Field(description="Status of the answer: 200 to 299, or 400 to 599.", ge=200, le=599)
    content_type: Annotated[str, Field(pattern=r"^[!-~]+/[!-~]+(; ?[!-~]+)*$")] = Field(
        "text/plain; charset=utf-8", description="Type of the body."
    )
    body: str = Field("", description=f"The body; at most {MAX_BODY_BYTES} bytes.")


class FieldEditSettings(_Strict):
    """Header fields that are changed in passing."""

    set: dict[FieldName, FieldValue] = Field({}, description="Fields that replace those of the name.")
    add: dict[FieldName, FieldValue] = Field({}, description="Fields that come beside those of the name.")
    remove: tuple[FieldName, ...] = Field((), description="Names of fields that are dropped.")


class RuleSettings(_Strict):
    """A rule of a listener: conditions, one action, and changes of header fields."""

    name: Name | None = Field(
        None, description="Name in logs, and in the cookie of group stickiness; `rule-N` if absent."
    )
    priority: Whole | None = Field(
        None, ge=1, le=1_000_000, description="The lowest comes first; the order of the file if absent."
    )
    host: Annotated[tuple[Host, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        None, description="Patterns such as `shop.example` or `*.example.com`; one of them has to match."
    )
    path: Annotated[tuple[PathPattern, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        None, description="Patterns of the whole path, such as `/robots.txt` or `/*.php`."
    )
    path_prefix: Annotated[tuple[Prefix, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        None, description="Paths with everything below them: `/admin` for `/admin/x`, not `/administrator`."
    )
    header: dict[FieldName, Patterns] | None = Field(
        None, min_length=1, description="Patterns by the name of a header field; each field has to be there."
    )
    query: dict[Pattern, Patterns] | None = Field(
        None, min_length=1, description="Patterns by the name of a parameter; each has to be there."
    )
    method: Annotated[tuple[Method, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        None, description="Methods such as `GET`."
    )
    source_ip: Annotated[tuple[Network, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        None, description="Networks such as `10.0.0.0/8` of the client, behind trusted proxies."
    )
    forward: (
        Annotated[tuple[WeightedGroupSettings, ...], BeforeValidator(_as_groups), Field(min_length=1)] | None
    ) = Field(None, description="Action: a target group, or several as `{ group = ..., weight = ... }`.")
    group_stickiness_s: Whole | None = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Idle seconds a client stays with its one of several groups; 0 for not at all. "
        "Default 86400.",
    )
    redirect: RedirectSettings | None = Field(None, description="Action: send the client elsewhere.")
    fixed_response: FixedResponseSettings | None = Field(
        None, description="Action: an answer of limpet's own."
    )
    request_headers: FieldEditSettings = Field(
        FieldEditSettings(), description="Changes of what the target gets."
    )
    response_headers: FieldEditSettings = Field(
        FieldEditSettings(), description="Changes of what the client gets."
    )
