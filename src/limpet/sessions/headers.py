"""How a session's headers join those of the app's response; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.sessions.errors import StoreUnavailableError

Headers: TypeAlias = list[tuple[str, str]]
#: What is added for most requests: they read their session.
ONLY_VARY: Headers = [("Vary", "Cookie")]
OUTAGE_BODY = b"The session store does not answer. Please try again in a moment.\n"


def merge(headers: Iterable[tuple[str, str]], added: Headers) -> Headers:
    """Return the headers of a response together with those that its session needs.

    `Vary` stays one list without repetitions. `no-store` replaces whatever else was said about caches,
    those of a CDN included, for they would give one user's cookie to another. Set-Cookie lines are
    never joined.

    Args:
        headers: of the app; names in any case, order kept.
        added: what `Sessions.save` has returned.

    Source: RFC 9110 section 12.5.5 (Vary), RFC 9111 section 5.2.2.5 (no-store), RFC 9213 (targeted fields).
    """
    merged = list(headers)
    for name, value in added:
        if name == "Vary":
            merged = _with_vary(merged, value)
        elif name == "Cache-Control":
            merged = [each for each in merged if not _is_about_caches(each[0].lower())]
            merged.append((name, value))
        else:
            merged.append((name, value))
    return merged


def _with_vary(headers: Headers, field: str) -> Headers:
    lines = [value for name, value in headers if name.lower() == "vary"]
    if not lines:
        return [*headers, ("Vary", field)]
    fields = [each.strip() for line in lines for each in line.split(",")]
    if "*" in fields or field.lower() in [each.lower() for each in fields]:
        return headers
    others = [each for each in headers if each[0].lower() != "vary"]
    return [*others, ("Vary", ", ".join([*filter(None, fields), field]))]


def _is_about_caches(name: str) -> bool:
    return name.endswith("cache-control") or name in {"surrogate-control", "expires", "pragma"}


def of_outage(error: StoreUnavailableError, *, accessed: bool) -> Headers:
    """Return the headers of the response 503; no cookie among them.

    Source: RFC 9110 sections 15.6.4 and 10.2.3.
    """
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(OUTAGE_BODY))),
        ("Retry-After", str(error.retry_after_s)),
    ]
    return merge(headers, after_outage(accessed=accessed))


def after_outage(*, accessed: bool) -> Headers:
    """Return what is added to the app's own answer to an outage."""
    return [*([("Vary", "Cookie")] if accessed else []), ("Cache-Control", "no-store")]
