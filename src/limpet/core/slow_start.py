"""Slow start: a target that came back gets its share of new sessions little by little.

A linear ramp from nothing to the whole weight, but never below a tenth of it: an application with
cold caches and empty pools is not met by a full share of the traffic in its first second. As on
ALB, only a target that *becomes* healthy while another healthy one is out of slow start ramps up;
when a whole group starts, there is nobody to carry the rest.

Source: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
"""

from __future__ import annotations

#: Share of the weight at the beginning of the ramp.
FLOOR = 0.1


def ramped_weight(weight: float, started_s: float | None, duration_s: float, now_s: float) -> float:
    """Return the effective weight of a target.

    Args:
        weight: as configured.
        started_s: monotonic; when the ramp began; None outside slow start.
        duration_s: of the whole ramp; 0 for no slow start.
        now_s: monotonic.
    """
    if started_s is None or is_over(started_s, duration_s, now_s):
        return weight
    return weight * max(FLOOR, (now_s - started_s) / duration_s)


def is_over(started_s: float, duration_s: float, now_s: float) -> bool:
    """Return whether a ramp has ended."""
    return now_s - started_s >= duration_s
