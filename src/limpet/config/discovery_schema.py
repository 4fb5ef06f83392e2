"""The settings of discovery, and which of them each kind of source takes."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from limpet.config.value_types import Whole
from limpet.core.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A name in DNS; labels of services begin with an underscore.
_DNS_NAME_PATTERN = r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9.])?$"
_KUBERNETES_NAME_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _server(value: str) -> str:
    address = parse_address(value, default_port=53)
    if address.is_name or address.is_unix or address.is_tls:
        raise ValueError(f"{value!r} is no DNS server; write its IP address, or IP:PORT")
    return value


class DiscoverySettings(BaseModel):
    """Where a group gets further targets from."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    type: Literal["dns", "srv", "file", "kubernetes"] = Field(
        description="The kind of source; docs/discovery.md explains them."
    )
    name: str | None = Field(
        None, pattern=_DNS_NAME_PATTERN, description="`dns`, `srv`: the name that is looked up."
    )
    port: Whole | None = Field(None, ge=1, le=65535, description="`dns`, `kubernetes`: the targets' port.")
    port_name: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]{1,63}$",
        description="`kubernetes`: name of the port in the Service; not needed if there is only one.",
    )
    https: Annotated[bool, Strict()] = Field(
        False, description="`dns`, `srv`, `kubernetes`: speak TLS with the targets."
    )
    servers: tuple[Annotated[str, AfterValidator(_server)], ...] = Field(
        (), description="`dns`, `srv`: DNS servers, as `IP` or `IP:PORT`; the system's if absent."
    )
    path: Path | None = Field(None, description="`file`: TOML or `.json` with a list `targets`.")
    service: str | None = Field(
        None, pattern=_KUBERNETES_NAME_PATTERN, description="`kubernetes`: the name of the Service."
    )
    namespace: str | None = Field(
        None,
        pattern=_KUBERNETES_NAME_PATTERN,
        description="`kubernetes`: its namespace; that of limpet's own pod if absent.",
    )
    api_url: str | None = Field(
        None,
        pattern=r"^https?://[!-~]+$",
        description="`kubernetes`: URL of the API server; what a pod is told if absent.",
    )
    token_file: Path = Field(
        _SERVICE_ACCOUNT / "token",
        description="`kubernetes`: file with the bearer token, read again for each request.",
    )
    ca_file: Path = Field(
        _SERVICE_ACCOUNT / "ca.crt", description="`kubernetes`: who vouches for an `https` API server."
    )


_NEEDED = {"dns": ("name", "port"), "srv": ("name",), "file": ("path",), "kubernetes": ("service",)}
_POSSIBLE = {
    "dns": ("https", "servers"),
    "srv": ("https", "servers"),
    "file": (),
    "kubernetes": ("port", "port_name", "https", "namespace", "api_url", "token_file", "ca_file"),
}


def discovery_problems(path: str, settings: DiscoverySettings) -> Iterator[str]:
    """Return what is missing for the kind of source, and what means nothing to it."""
    kind = settings.type
    for name in _NEEDED[kind]:
        if getattr(settings, name) is None:
            yield f"{path}.{name}: is missing for type {kind!r}; add it"
    for name in sorted(settings.model_fields_set - {"type", *_NEEDED[kind], *_POSSIBLE[kind]}):
        yield f"{path}.{name}: means nothing for type {kind!r}; remove it"
    if settings.port is not None and settings.port_name is not None:
        yield f"{path}.port_name: is not possible with port; remove one of the two"
    if kind == "kubernetes":
        yield from _kubernetes(path, settings)


def _kubernetes(path: str, settings: DiscoverySettings) -> Iterator[str]:
    if find_spec("httpx") is None:
        yield f"{path}.type: 'kubernetes' needs 'httpx'; install limpet[kubernetes]"
    if settings.api_url is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
        yield f"{path}.api_url: is missing outside of a pod; write https://HOST:PORT"
    elif settings.api_url is not None and settings.api_url.startswith("http:"):
        host = urlsplit(settings.api_url).hostname or ""
        if host != "localhost" and not host.startswith("127.") and host != "::1":
            yield f"{path}.api_url: {settings.api_url!r} would show the token to the network; write https://"
