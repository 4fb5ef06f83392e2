"""Sites with nothing wrong: what the doctor must not take for a fault."""

from __future__ import annotations

from doctor_lab.fault import STICKY, fault

CONTROLS = (
    fault("a shared store", "", "Shared"),
    fault("a signed cookie", "", "Signed"),
    fault("a signed cookie (FastAPI)", "", "one_key", stack="fastapi"),
    fault("rotation with grace", "", "Rotating"),
    fault("sticky with a shared store", "", "Shared", STICKY),
    fault("an A/B canary", "", "Canary"),
)
