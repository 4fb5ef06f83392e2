"""Lets these tests import the kit for framework tests, and the old apps that lie beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "frameworks")]
pytest.register_assert_rewrite("sites")
