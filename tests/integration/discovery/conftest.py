"""Modules of this folder are imported by name; servers that discovery asks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tls"))

from api_server import ApiServer
from authority import Authority
from name_server import NameServer


@pytest.fixture
def api_server(tmp_path):
    """An API server of Kubernetes, not started."""
    return ApiServer(tmp_path)


@pytest.fixture
def name_server():
    """A DNS server, not started."""
    return NameServer()


@pytest.fixture
def authority(tmp_path):
    """Who vouches for certificates."""
    return Authority(tmp_path)
