"""What the tests of pages share."""

from __future__ import annotations

import sys
from pathlib import Path

# Their kit is modules beside the tests; `importlib` mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))
