"""A bar chart as inline SVG: the first paint of the spend, for browsers with or without script.

Sizes are in units of the view box; colours come from the style sheet, because the page's policy allows no inline style.
"""

from collections.abc import Sequence
from datetime import date
from html import escape

_WIDTH, _HEIGHT = 720, 200
_LEFT, _TOP, _BOTTOM = 8, 8, 22
_LABELS = 6  # most dates under the axis


def spend_chart(days: Sequence[tuple[date, int, str]], title: str) -> str:
    """One bar a day from (day, nano-dollars, the amount as text); every bar tells its amount on hover."""
    most = max((nano for _, nano, _ in days), default=0)
    step = (_WIDTH - 2 * _LEFT) / max(1, len(days))
    room = _HEIGHT - _TOP - _BOTTOM
    every = max(1, -(-len(days) // _LABELS))
    parts: list[str] = []
    for position, (day, nano, amount) in enumerate(days):
        left = _LEFT + position * step
        height = room * nano / most if most else 0.0
        parts.append(
            f'<rect class="bar" x="{left + step * 0.12:.1f}" y="{_TOP + room - height:.1f}" '
            f'width="{step * 0.76:.1f}" height="{height:.1f}"><title>{day.isoformat()}: {escape(amount)}</title></rect>'
        )
        if position % every == 0:
            parts.append(
                f'<text class="tick" x="{left + step / 2:.1f}" y="{_HEIGHT - 6}" '
                f'text-anchor="middle">{day.strftime("%m-%d")}</text>'
            )
    return (
        f'<svg class="spend" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _LEFT}" y1="{_TOP + room}" y2="{_TOP + room}"/>'
        f"{''.join(parts)}</svg>"
    )
