"""Modules of this folder are imported by name; servers that discovery asks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from api_server import ApiServer
from name_server import NameServer


@pytest.fixture
def api_server(tmp_path):
    """An API server of Kubernetes, not started."""
    return ApiServer(tmp_path)


@pytest.fixture
def name_server():
    """A DNS server, not started."""
    return NameServer()
