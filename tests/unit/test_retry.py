"""The truth table of retries: never twice what may have had an effect."""

import itertools

import pytest

from limpet.core.retry import may_retry
from limpet.errors import ErrorKind

METHODS = [b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"DELETE", b"PATCH"]
SAFE = {b"GET", b"HEAD", b"OPTIONS"}
NOT_SENT = {ErrorKind.CONNECT_FAILED, ErrorKind.CONNECT_TIMEOUT, ErrorKind.NO_TARGET}


@pytest.mark.parametrize(
    ("kind", "method", "sent", "body"),
    list(itertools.product(ErrorKind, METHODS, [False, True], [False, True])),
    ids=str,
)
def test_truth_table(kind, method, sent, body):
    allowed = may_retry(kind, method, sent_anything=sent, has_body=body, attempts=1, max_attempts=3)
    if kind in NOT_SENT and not sent:
        assert allowed
    elif kind in NOT_SENT or kind is ErrorKind.TARGET_CLOSED:
        assert allowed == (method in SAFE and not body)
    else:
        assert not allowed
    assert not may_retry(kind, method, sent_anything=sent, has_body=body, attempts=3, max_attempts=3)
