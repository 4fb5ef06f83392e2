"""The configuration file, as pydantic models.

Every field has a description; docs/configuration.md is made of them. Nothing here knows the
core: `compile.py` turns settings into what the balancer runs on.
"""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from limpet.config.discovery_schema import DiscoverySettings
from limpet.config.rule_schema import RuleSettings
from limpet.config.value_types import FieldName, Name, Whole
from limpet.core.address import parse_address


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _target_address(value: str) -> str:
    parse_address(value, default_port=80)
    return value


def _listener_address(value: str) -> str:
    parse_address(value)
    return value


def _network(value: str) -> str:
    ip_network(value, strict=False)
    return value


def as_target(value: Any) -> Any:
    """Let an address stand for a target."""
    return {"address": value} if isinstance(value, str) else value


# Strict: `true` is no number, and "3" is a text.
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86400 * 30)]
HOST_NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"


class CertificateSettings(_Strict):
    """A certificate and its key."""

    certificate: Path = Field(description="PEM file: the certificate, then those that vouch for it.")
    key: Path = Field(description="PEM file with its key, not encrypted.")


class ListenerTlsSettings(_Strict):
    """TLS towards clients."""

    certificates: tuple[CertificateSettings, ...] = Field(
        min_length=1,
        description="Chosen by the name the client asks for; the first is for all other clients.",
    )
    min_version: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version that is spoken.")
    strict_sni: Flag = Field(
        False, description="Refuse clients that name no host, or one that no certificate is for."
    )
    client_auth: Literal["off", "optional", "required"] = Field(
        "off", description="Whether clients have to show a certificate (mutual TLS)."
    )
    client_ca: Path | None = Field(None, description="PEM file: who vouches for clients' certificates.")
    hsts_s: Whole = Field(
        0, ge=0, le=63_072_000, description="`max-age` of `Strict-Transport-Security`; 0 for none."
    )


class TargetTlsSettings(_Strict):
    """TLS towards targets whose address says `https://`."""

    verify: Flag = Field(True, description="Whether a target has to show a valid certificate.")
    ca: Path | None = Field(
        None, description="PEM file: who vouches for targets' certificates; whom the system trusts if absent."
    )
    server_name: str | None = Field(
        None,
        pattern=HOST_NAME_PATTERN,
        description="Name their certificates must be for; the host of each address if absent.",
    )
    certificate: Path | None = Field(None, description="PEM file that is shown to targets that ask for one.")
    key: Path | None = Field(None, description="PEM file with its key.")


class TargetSettings(_Strict):
    """One target: a string with its address, or a table."""

    address: Annotated[str, AfterValidator(_target_address)] = Field(
        description=(
            "Where the target is reached: `http://HOST:PORT`, `https://HOST:PORT`, `[IPV6]:PORT` or "
            "`unix:/path`."
        )
    )
    name: Name | None = Field(
        None, description="Stable name in tickets, logs and commands; made from the address if absent."
    )
    weight: Whole = Field(
        1, ge=0, le=1000, description="Share of new sessions; 0 keeps its sessions and gets no new one."
    )
    backup: Flag = Field(False, description="Gets requests only while no ordinary target is healthy.")
    maintenance: Flag = Field(False, description="Takes no request at all and is not checked.")


class StickinessSettings(_Strict):
    """How sessions are pinned to targets."""

    type: Literal["off", "lb_cookie", "app_cookie", "source_ip", "header"] = Field(
        "lb_cookie", description="The kind of stickiness; docs/stickiness.md explains them."
    )
    cookie_name: FieldName | None = Field(
        None,
        description=(
            "Name of limpet's cookie; `__Host-` is possible. The app cookie's pin adds `-app`. Default "
            "`limpet`; `limpet-NAME` if several groups with cookies are served."
        ),
    )
    duration_s: Whole | None = Field(
        None,
        ge=0,
        le=31_536_000,
        description="Idle seconds until a pin ends; 0 for never. Default 86400; none for `app_cookie`.",
    )
    absolute_s: Whole = Field(
        0, ge=0, le=31_536_000, description="Age in seconds after which a pin ends; 0 for never."
    )
    app_cookie: FieldName | None = Field(
        None, description="The application's cookie that `app_cookie` follows."
    )
    header: FieldName | None = Field(
        None, description="The header that `header` reads, such as `Mcp-Session-Id`."
    )
    domain: str | None = Field(
        None,
        pattern=r"^\.?[A-Za-z0-9.-]+$",
        description="`Domain` of limpet's cookie; none means this host alone.",
    )
    same_site: Literal["Lax", "Strict", "None"] = Field("Lax", description="`SameSite` of limpet's cookie.")
    secure: Flag | None = Field(None, description="`Secure` of limpet's cookie; by default on https only.")
    partitioned: Flag = Field(False, description="`Partitioned` of limpet's cookie (CHIPS).")
    cross_site_twin: Flag = Field(
        False, description="Also set `NAME-cors` with `SameSite=None; Secure`, for embedding in other sites."
    )
    exempt_paths: tuple[str, ...] = Field(
        (), description="Patterns such as `/static/*`: these paths neither create nor need stickiness."
    )
    subresource_tickets: Flag = Field(
        False, description="Let images, scripts and styles (by `Sec-Fetch-Dest`) get new tickets too."
    )
    on_unavailable: Literal["redistribute", "unavailable"] = Field(
        "redistribute",
        description="What a pinned request gets when its target cannot serve: another target, or 503.",
    )
    after_recovery: Literal["sticky", "temporary"] = Field(
        "sticky", description="A redistributed session stays on its new target, or returns to the old one."
    )
    active_window_s: Seconds = Field(
        300, description="A session counts as active so long after its last request."
    )


class HealthCheckSettings(_Strict):
    """How targets are checked."""

    enabled: Flag = Field(True, description="Whether targets are checked at all.")
    path: str = Field("/", pattern=r"^/[!-~]*$", description="Path that is asked for.")
    interval_s: Seconds = Field(5, description="Seconds between two checks of a target.")
    timeout_s: Seconds = Field(2, description="Seconds until a check has failed.")
    healthy_threshold: Whole = Field(
        2, ge=1, le=100, description="Successes in a row until an unhealthy target is healthy."
    )
    unhealthy_threshold: Whole = Field(
        2, ge=1, le=100, description="Failures in a row until a target is unhealthy."
    )
    matcher: str = Field(
        "200-499",
        pattern=r"^[1-5]\d\d(-[1-5]\d\d)?(,[1-5]\d\d(-[1-5]\d\d)?)*$",
        description="Status codes that mean healthy, such as `200-299,401`.",
    )
    jitter: Number = Field(
        0.1, ge=0, le=1, description="Part of the interval by which checks are spread by chance."
    )
    host: str | None = Field(
        None,
        pattern=r"^[!-~]+$",
        description="Host header of checks (Django's ALLOWED_HOSTS); the target's address if absent.",
    )
    headers: dict[FieldName, Annotated[str, Field(pattern=r"^[ -~]*$")]] = Field(
        {}, description="Further headers of checks."
    )
    passive_threshold: Whole = Field(
        3, ge=0, le=1000, description="Failed requests in a row that make a target unhealthy; 0 for never."
    )
    passive_recovery_s: Seconds = Field(
        10, description="Without checks: seconds after which such a target is tried again."
    )


class ReliefSettings(_Strict):
    """How targets that carry too much are relieved of sessions that any target can serve."""

    enabled: Flag = Field(True, description="Whether sessions are ever moved for the sake of balance.")
    max_excess: Number = Field(
        0.25,
        gt=0,
        le=100,
        description="A target may carry (1 + this) times its share of the requests in flight.",
    )
    moves_per_minute: Number = Field(
        1.0,
        ge=0,
        le=60,
        description=(
            "Sessions that may get another home in a minute, as a share of the active ones, while a target "
            "is more than a tenth above its share; below that a twenty-fifth of it."
        ),
    )


class LimitSettings(_Strict):
    """What one target is asked to bear, and how long limpet waits for it."""

    max_in_flight: Whole = Field(0, ge=0, description="Requests at a time per target; 0 for no limit.")
    max_queued: Whole = Field(100, ge=0, description="Requests that wait for a full target; more get 503.")
    queue_timeout_s: Seconds = Field(10, description="Seconds one waits in that queue before its 503.")
    connect_timeout_s: Seconds = Field(5, description="Seconds to establish a connection to a target.")
    response_timeout_s: Seconds = Field(
        60, description="Seconds from the request's end to the response's first byte."
    )
    idle_timeout_s: Seconds = Field(60, description="Seconds between two bytes of a response body.")
    tunnel_idle_timeout_s: Seconds = Field(3600, description="Seconds between two bytes of a WebSocket.")
    keep_alive_s: Seconds = Field(30, description="Seconds an idle connection to a target is kept.")
    max_idle_connections: Whole = Field(256, ge=0, description="Idle connections kept per target.")
    max_attempts: Whole = Field(3, ge=1, le=100, description="Targets tried for one request.")


class TargetGroupSettings(_Strict):
    """Targets that serve the same application."""

    targets: tuple[Annotated[TargetSettings, BeforeValidator(as_target)], ...] = Field(
        (), description="The targets: addresses, or tables; at least one, or `discovery`."
    )
    discovery: DiscoverySettings | None = Field(None, description="Where further targets come from.")
    algorithm: Literal[
        "round_robin",
        "weighted_random",
        "least_outstanding_requests",
        "power_of_two",
        "rendezvous",
        "bounded_rendezvous",
    ] = Field("round_robin", description="How the target of a new session is chosen.")
    hash_header: FieldName | None = Field(
        None, description="Header that the rendezvous algorithms hash; the client's address if absent."
    )
    load_bound: Number = Field(
        1.25, gt=1, le=100, description="How far above its share `bounded_rendezvous` lets a target go."
    )
    stickiness: StickinessSettings = Field(StickinessSettings(), description="How sessions are pinned.")
    health_check: HealthCheckSettings = Field(HealthCheckSettings(), description="How targets are checked.")
    session_state: Literal["auto", "portable", "pinned"] = Field(
        "auto",
        description=(
            "Whether any target can serve any session: `auto` believes `limpet.sessions` in the app, and "
            "nothing else; `portable` and `pinned` say it for all."
        ),
    )
    relief: ReliefSettings = Field(ReliefSettings(), description="How hot targets are relieved.")
    limits: LimitSettings = Field(LimitSettings(), description="Limits and timeouts towards targets.")
    tls: TargetTlsSettings = Field(
        TargetTlsSettings(), description="TLS towards targets whose address says `https://`."
    )
    deregistration_delay_s: Number = Field(
        300, ge=0, le=3600, description="Seconds a removed target has to finish what is in flight."
    )
    slow_start_s: Number = Field(
        0,
        ge=0,
        le=900,
        description="Seconds in which a recovered target's share grows to its weight; 0 for at once.",
    )
    dns_interval_s: Seconds = Field(
        10, description="Most seconds between two look-ups of a name; less if its TTL is less (1 at least)."
    )


class ListenerSettings(_Strict):
    """An address on which clients are served."""

    address: Annotated[str, AfterValidator(_listener_address)] = Field(
        description="`HOST:PORT`, `[IPV6]:PORT` or `unix:/path`; port 0 lets the system choose."
    )
    target_group: Name | None = Field(
        None, description="Who gets what no rule matches; the only group if absent, or else 404."
    )
    rules: tuple[RuleSettings, ...] = Field((), description="Rules, tried in order; docs/rules.md.")
    proxy_protocol: Flag = Field(False, description="Each connection begins with a PROXY protocol header.")
    http2: Flag = Field(True, description="Offer HTTP/2 to clients that speak TLS.")
    http2_prior_knowledge: Flag = Field(
        False, description="Without TLS, connections may begin with HTTP/2 (h2c); not with PROXY headers."
    )
    tls: ListenerTlsSettings | None = Field(None, description="TLS; plain HTTP if absent.")
    redirect_to_https: Flag = Field(False, description="Send clients to the same URL with https (308).")
    https_port: Whole | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port in that URL; the first TLS listener's if absent.",
    )
    acme_webroot: Path | None = Field(
        None,
        description="With `redirect_to_https`: folder whose `.well-known/acme-challenge` is served.",
    )


class ClientSettings(_Strict):
    """What one client may ask, and how long limpet waits for it."""

    max_head_bytes: Whole = Field(
        65536, ge=1024, le=1_048_576, description="Bytes of a request head; more is 431."
    )
    max_headers: Whole = Field(100, ge=1, le=1000, description="Header lines of a request; more is 431.")
    max_body_bytes: Whole = Field(
        0, ge=0, description="Bytes of a request body; more is 413; 0 for no limit."
    )
    max_connections: Whole = Field(
        0, ge=0, description="Open client connections; more are closed; 0 for no limit."
    )
    max_connections_per_client: Whole = Field(
        0,
        ge=0,
        description="The same for each client, which is an IPv4 address or an IPv6 /64; 0 for no limit.",
    )
    requests_per_s_per_client: Number = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Requests a client may send each second; more get 429; 0 for no limit.",
    )
    burst: Whole = Field(
        100, ge=1, le=1_000_000, description="Requests a client may send at once before that counts."
    )
    exempt_networks: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (),
        description="Networks that the limits per client do not concern; nor do they `trusted_proxies`.",
    )
    header_timeout_s: Seconds = Field(
        10, description="Seconds for a whole request head, or for a TLS handshake."
    )
    body_timeout_s: Seconds = Field(60, description="Seconds between two parts of a request body.")
    keep_alive_s: Seconds = Field(75, description="Seconds an idle client connection is kept.")
    send_timeout_s: Seconds = Field(60, description="Seconds a client may not read its response.")


class AccessLogSettings(_Strict):
    """The access log."""

    path: str = Field("-", description="File to append to; `-` for standard output, `off` for none.")
    format: Literal["text", "json"] = Field("text", description="Form of a line.")


class TracingSettings(_Strict):
    """Spans for OpenTelemetry; where they go is up to its own `OTEL_*` variables."""

    enabled: Flag = Field(False, description="Make a span of each request; needs `limpet[otel]`.")
    sample: Number = Field(
        1.0, ge=0, le=1, description="Share of the traces that begin here; others bring their own decision."
    )


class AdminSettings(_Strict):
    """The listener for `limpet status` and its like."""

    address: Annotated[str, AfterValidator(_listener_address)] = Field(
        "127.0.0.1:8081", description="Where it listens; beyond loopback only with a token."
    )
    token_file: Path | None = Field(
        None,
        description=(
            "File with the token that every call must bring; the variable `LIMPET_ADMIN_TOKEN` comes "
            "before it. Without either there is no token."
        ),
    )
    enabled: Flag = Field(True, description="Whether there is one.")
    read_only: Flag = Field(
        False, description="Show everything and refuse every change: by the page, by commands, by anybody."
    )


class KeySettings(_Strict):
    """The keys that seal tickets; balancers that share them read each other's tickets."""

    file: Path | None = Field(
        None,
        description=(
            "File with one key a line, newest first; without it, one is made at the first start in "
            "`$XDG_STATE_HOME/limpet` or `~/.local/state/limpet`."
        ),
    )
    env: str = Field(
        "LIMPET_TICKET_KEYS", description="Environment variable with the keys; comes before the file."
    )


class Settings(_Strict):
    """A whole configuration."""

    listeners: tuple[ListenerSettings, ...] = Field(
        (ListenerSettings(address="127.0.0.1:8080"),), min_length=1, description="Where clients are served."
    )
    target_groups: dict[Name, TargetGroupSettings] = Field(min_length=1, description="Target groups by name.")
    clients: ClientSettings = Field(ClientSettings(), description="Limits and timeouts towards clients.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Networks whose X-Forwarded-* and Forwarded headers are believed."
    )
    error_pages: dict[Annotated[int, Field(ge=400, le=599)], Path] = Field(
        {}, description="HTML files by status, sent instead of limpet's own pages."
    )
    access_log: AccessLogSettings = Field(AccessLogSettings(), description="The access log.")
    tracing: TracingSettings = Field(TracingSettings(), description="Spans for OpenTelemetry.")
    admin: AdminSettings = Field(AdminSettings(), description="The admin listener.")
    keys: KeySettings = Field(KeySettings(), description="The keys of tickets.")
    workers: Whole = Field(
        1, ge=1, le=128, description="Processes that serve clients; one for each core of a busy machine."
    )
    shutdown_timeout_s: Seconds = Field(30, description="Seconds requests have to finish after SIGTERM.")
