"""docs/configuration.md, made of the schema: `python -m limpet.config.reference > docs/configuration.md`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from limpet.config import discovery_schema, rule_schema, schema

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_HEAD = """# Configuration

`limpet up limpet.toml`, or `limpet up` in a folder with a `limpet.toml`. `limpet up --check` says whether a
file is right (exit 0) or lists every mistake in it (exit 2), each as `path: what is wrong; what to do`.
Options on the command line replace what the file says.

A running limpet reads its file again after SIGHUP, after `limpet reload`, or when the file changes. A file
with a mistake changes nothing: the mistakes are printed and the old configuration goes on.

```toml
[[listeners]]
address = "127.0.0.1:8080"

[target_groups.web]
targets = [
  "http://127.0.0.1:9001",
  { name = "b", address = "http://127.0.0.1:9002", weight = 2 },
  "unix:/run/app/c.sock",
]
algorithm = "round_robin"

[target_groups.web.stickiness]
type = "lb_cookie"
duration_s = 86400

[target_groups.web.health_check]
path = "/health"
host = "shop.example"
```

This page is made of the schema (`python -m limpet.config.reference`), and a test compares them.
"""

_SECTIONS: list[tuple[str, str, type[BaseModel]]] = [
    ("Top level", "", schema.Settings),
    ("Listeners", "[[listeners]]", schema.ListenerSettings),
    ("TLS towards clients", "[listeners.tls]", schema.ListenerTlsSettings),
    ("Certificates", "certificates = [...]", schema.CertificateSettings),
    ("Rules", "[[listeners.rules]]", rule_schema.RuleSettings),
    ("Groups of a rule", "forward = [...]", rule_schema.WeightedGroupSettings),
    ("Redirects", "redirect = {...}", rule_schema.RedirectSettings),
    ("Fixed responses", "fixed_response = {...}", rule_schema.FixedResponseSettings),
    ("Header fields", "request_headers = {...}", rule_schema.FieldEditSettings),
    ("Target groups", "[target_groups.NAME]", schema.TargetGroupSettings),
    ("Targets", "targets = [...]", schema.TargetSettings),
    ("Discovery", "[target_groups.NAME.discovery]", discovery_schema.DiscoverySettings),
    ("Stickiness", "[target_groups.NAME.stickiness]", schema.StickinessSettings),
    ("Health checks", "[target_groups.NAME.health_check]", schema.HealthCheckSettings),
    ("Relief", "[target_groups.NAME.relief]", schema.ReliefSettings),
    ("Limits towards targets", "[target_groups.NAME.limits]", schema.LimitSettings),
    ("TLS towards targets", "[target_groups.NAME.tls]", schema.TargetTlsSettings),
    ("Limits towards clients", "[clients]", schema.ClientSettings),
    ("Access log", "[access_log]", schema.AccessLogSettings),
    ("Admin listener", "[admin]", schema.AdminSettings),
    ("Keys", "[keys]", schema.KeySettings),
]

_ALGORITHMS = """
## Algorithms

| `algorithm` | chooses for a new session |
|---|---|
| `round_robin` | the target whose turn it is, by weight (as nginx does); pinned requests count as turns |
| `weighted_random` | by chance, in proportion to the weights |
| `least_outstanding_requests` | the target with the fewest requests in flight for its weight |
| `power_of_two` | the less loaded of two random targets |
| `rendezvous` | by a hash of the client's address, or of `hash_header` |
| `bounded_rendezvous` | the same, but never a target more than `load_bound` above its share |
"""


def render() -> str:
    """Return the page."""
    parts = [_HEAD]
    for title, place, model in _SECTIONS:
        where = f" `{place}`" if place else ""
        rows = [_row(name, field) for name, field in model.model_fields.items()]
        table = "\n".join(["| setting | values | default | meaning |", "|---|---|---|---|", *rows])
        parts.append(f"## {title}{where}\n\n{table}\n")
    return "\n".join(parts) + _ALGORITHMS


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
    return f"| `{name}` | {_values(field.annotation)} | {default} | {field.description} |"


def _default(value: Any) -> str:
    if isinstance(value, BaseModel) or value in ((), {}, None, "") or isinstance(value, tuple):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    names = {bool: "true, false", int: "whole number", float: "number", str: "text"}
    inner = [argument for argument in get_args(annotation) if argument is not type(None)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) is dict:
        return "table"
    if inner:
        return _values(inner[0])
    return names.get(annotation, "path")


if __name__ == "__main__":
    sys.stdout.write(render())
