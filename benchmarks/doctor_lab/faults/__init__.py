"""The table of faults, one file per way to find them; the benchmark runs all of it.

FAULTS are sites with a cause, CONTROLS have none. tests/doctor/faults runs one seed of each.
"""

from __future__ import annotations

from doctor_lab.faults import sick, well

FAULTS = (*sick.FAULTS,)
CONTROLS = well.CONTROLS
