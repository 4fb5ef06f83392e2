"""May a failed attempt be made again, on another target?

Two promises: a request that may have had an effect is never sent twice, and nobody is shown an
error that another target could have prevented. So an attempt is repeated if nothing of it was
sent, or if the method is safe (RFC 9110 section 9.2.1) and no byte of a response has come.
A target that is slow is not tried twice: the same request would make the next one slow too.

Source: RFC 9110 section 9.2.2; RFC 9112 section 9.3.1.
"""

from __future__ import annotations

from limpet.errors import ErrorKind

#: TRACE is safe as well, and refused anyway.
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

#: Failures that another target may not have; a slow response or a malformed one it may.
_REPEATABLE = frozenset(
    {ErrorKind.CONNECT_FAILED, ErrorKind.CONNECT_TIMEOUT, ErrorKind.NO_TARGET, ErrorKind.TARGET_CLOSED}
)


def may_retry(
    kind: ErrorKind, method: bytes, *, sent_anything: bool, has_body: bool, attempts: int, max_attempts: int
) -> bool:
    """Decide whether a request goes to another target after an attempt without a response.

    Args:
        kind: how the attempt failed.
        sent_anything: whether any attempt wrote a byte of this request to a target.
        has_body: whether the request has a body; it is streamed, so it cannot be sent again.
        attempts: made so far.
    """
    if attempts >= max_attempts or kind not in _REPEATABLE:
        return False
    return not sent_anything or (method in SAFE_METHODS and not has_body)
