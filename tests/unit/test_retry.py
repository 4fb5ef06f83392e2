"""The truth table of retries: never twice what may have had an effect."""

import itertools

import pytest

from limpet.core.retry import may_retry
from limpet.errors import ErrorKind

METHODS = [b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE", b"PATCH"]
SAFE = {b"GET", b"HEAD", b"OPTIONS"}
MAY_DIFFER = {
    ErrorKind.CONNECT_FAILED,
    ErrorKind.CONNECT_TIMEOUT,
    ErrorKind.NO_TARGET,
    ErrorKind.TARGET_CLOSED,
}


@pytest.mark.parametrize(
    ("kind", "method", "sent", "body"),
    list(itertools.product(ErrorKind, METHODS, [False, True], [False, True])),
    ids=str,
)
def test_truth_table(kind, method, sent, body):
    allowed = may_retry(kind, method, sent_anything=sent, has_body=body, attempts=1, max_attempts=3)
    assert allowed == (kind in MAY_DIFFER and (not sent or (method in SAFE and not body)))
    assert not may_retry(kind, method, sent_anything=sent, has_body=body, attempts=3, max_attempts=3)
