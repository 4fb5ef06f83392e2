"""The load of each target over time as an SVG: a row for each system, a column for each scenario."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from hot_lab.peers import SYSTEMS
from hot_lab.traffic import SCENARIOS, TARGETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Told apart by people who do not see all colours, too.
_COLOURS = dict(zip(TARGETS, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"), strict=True))
_ORDER = ("haproxy", "nginx", "envoy", "limpet-pinned", "limpet-portable", "limpet-stateless")
_LEFT, _TOP = 176, 92
_WIDTH, _HEIGHT = 290, 92
_GAP_X, _GAP_Y = 26, 40
#: Seconds that are drawn as one.
_SMOOTH_S = 3
_BAD = "#b00020"
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-size: 17px; font-weight: 600 }
.system { font-size: 14px; font-weight: 600 }
.small { font-size: 11px; fill: #666 }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
"""

Results = dict[str, dict[str, dict[str, Any]]]


def draw(results: Results) -> str:
    """Return the drawing of figures by scenario and system."""
    scenarios = [name for name in SCENARIOS if name in results]
    systems = [name for name in _ORDER if any(name in results[scenario] for scenario in scenarios)]
    width = _LEFT + len(scenarios) * (_WIDTH + _GAP_X)
    height = _TOP + len(systems) * (_HEIGHT + _GAP_Y) + 30
    label = "Requests served per second by each target, over time, for each balancer"
    box = f'viewBox="0 0 {width} {height}" role="img" aria-label="{label}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(16, 28, "Requests that each of five targets serves per second", "title"),
        *_key(16, 50),
    ]
    for column, scenario in enumerate(scenarios):
        x = _LEFT + column * (_WIDTH + _GAP_X)
        parts.append(_text(x, _TOP - 18, SCENARIOS[scenario].about))
        ideal = results[scenario].get("limpet-stateless")
        for row, system in enumerate(systems):
            if figures := results[scenario].get(system):
                parts += _panel(x, _TOP + row * (_HEIGHT + _GAP_Y), figures, ideal)
    for row, system in enumerate(systems):
        middle = _TOP + row * (_HEIGHT + _GAP_Y) + _HEIGHT / 2
        parts.append(_text(16, middle, SYSTEMS[system].title, "system"))
    return "\n".join([*parts, "</svg>", ""])


def _key(x: float, y: float) -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(_COLOURS.items()):
        left = x + number * 46
        parts.append(f'<rect x="{left}" y="{y - 8}" width="18" height="4" fill="{colour}"/>')
        parts.append(_text(left + 23, y, name))
    words = "dashed: what a target can serve; grey: settling; red: above 1.15, twice the ideal's, or lost"
    return [*parts, _text(x + 250, y, words, "small")]


def _panel(x: float, y: float, figures: Mapping[str, Any], ideal: Mapping[str, Any] | None) -> list[str]:
    served: Mapping[str, Sequence[int]] = figures["served"]
    seconds = len(served[TARGETS[0]])
    per_s = _WIDTH / seconds
    event = x + figures["calm_s"] * per_s
    settle = figures["settle_s"] * per_s
    capacity = 1 / figures["service_s"]
    top = capacity * 1.15
    full = y + _HEIGHT * (1 - capacity / top)
    bottom = y + _HEIGHT
    parts = [
        f'<rect x="{event:.1f}" y="{y}" width="{settle:.1f}" height="{_HEIGHT}" fill="#f2f2f2"/>',
        f'<path d="M{x} {bottom}h{_WIDTH}M{event:.1f} {y}v{_HEIGHT}" stroke="#999"/>',
        f'<path d="M{x} {full:.1f}h{_WIDTH}" stroke="#999" stroke-dasharray="4 4"/>',
        _text(x - 6, full + 4, f"{capacity:.0f}", "small", anchor="end"),
    ]
    for name, counts in served.items():
        points = " ".join(
            f"{x + (second + 0.5) * per_s:.1f},{bottom - _HEIGHT * min(value, top) / top:.1f}"
            for second, value in enumerate(smooth(counts, _SMOOTH_S))
        )
        parts.append(f'<polyline class="line" stroke="{_COLOURS[name]}" points="{points}"/>')
    return [*parts, *_words(x, bottom + 15, figures, ideal)]


def _words(x: float, y: float, figures: Mapping[str, Any], ideal: Mapping[str, Any] | None) -> list[str]:
    p99_ms = figures["p99_ms"]
    is_slow = ideal is not None and p99_ms > 2 * ideal["p99_ms"]
    words = [
        (f"busiest/mean {figures['busiest_to_mean']:.2f}", figures["busiest_to_mean"] > 1.15),
        (f"p99 {p99_ms / 1e3:.1f} s" if p99_ms >= 1000 else f"p99 {p99_ms:.0f} ms", is_slow),
    ]
    words += [(f"{figures[key]} {key}", True) for key in ("errors", "logouts") if figures[key]]
    spans = " · ".join(
        f'<tspan fill="{_BAD}" font-weight="600">{escape(text)}</tspan>' if is_bad else escape(text)
        for text, is_bad in words
    )
    return [f'<text x="{x}" y="{y}">{spans}</text>']


def smooth(values: Sequence[int], width: int) -> list[float]:
    """Return the mean of each value and its neighbours; at the ends of those that there are."""
    half = width // 2
    around = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(some) / len(some) for some in around]


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
