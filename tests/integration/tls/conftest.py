"""What every test of TLS has: an authority and clients."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# `importlib` mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))

from authority import Authority
from tls_kit import Clients


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def clients(authority):
    return Clients(authority)
