"""Two small plots, written by hand: bars of ratios on a logarithmic axis, and lines on two of them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#1a73e8", "#d93025", "#188038", "#f29900", "#9334e6", "#00796b")
_STYLE = "<style>text{font:12px sans-serif;fill:#202124}.t{font-weight:bold;font-size:14px}.g{stroke:#dadce0}</style>"


def _page(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, _STYLE, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>\n"])


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _decades(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def bars(title: str, rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Of each row: label, value, and the values of two marks, must (red) and ambitious (green)."""
    left, width, step, top = 420, 1000, 20, 50
    positive = [value for row in rows for value in row[1:] if value > 0]
    ticks = _decades(min(positive), max(positive))
    span = math.log10(ticks[-1] / ticks[0]) or 1

    def x(value: float) -> float:
        return left + (width - left - 60) * math.log10(max(value, ticks[0]) / ticks[0]) / span

    height = top + step * len(rows) + 30
    parts = [_text(10, 22, title, 'class="t"'), _text(left, 38, "bar: measured; red mark: must; green mark: ambitious")]
    for tick in ticks:
        parts.append(f'<line class="g" x1="{x(tick):.1f}" y1="{top}" x2="{x(tick):.1f}" y2="{height - 22}"/>')
        parts.append(_text(x(tick), height - 8, f"{tick:g}", 'text-anchor="middle"'))
    for number, (label, value, must, ambitious) in enumerate(rows):
        y = top + step * number
        parts.append(_text(left - 8, y + 14, label, 'text-anchor="end"'))
        parts.append(
            f'<rect x="{left}" y="{y + 4}" width="{max(1, x(value) - left):.1f}" height="12" fill="{_COLOURS[0]}"/>'
        )
        for mark, colour in ((must, "#d93025"), (ambitious, "#188038")):
            if mark > 0:
                parts.append(f'<rect x="{x(mark) - 1:.1f}" y="{y + 1}" width="2" height="18" fill="{colour}"/>')
        beyond = max(x(point) for point in (value, must, ambitious) if point > 0)
        parts.append(_text(beyond + 5, y + 14, f"{value:.3g}"))
    return _page(width, height, parts)


def lines(title: str, panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    """A panel for each name, a line for each series of (x, y), both axes logarithmic."""
    columns, wide, high, top = 2, 480, 280, 40
    rows = math.ceil(len(panels) / columns)
    parts = [_text(10, 22, title, 'class="t"')]
    for number, (name, series) in enumerate(panels.items()):
        x0, y0 = wide * (number % columns), top + high * (number // columns)
        parts += _panel(name, series, x0 + 60, y0 + 24, wide - 90, high - 70)
    return _page(wide * columns, top + high * rows, parts)


def _panel(
    name: str, series: Mapping[str, Sequence[tuple[float, float]]], x0: float, y0: float, wide: float, high: float
) -> list[str]:
    points = [point for line in series.values() for point in line]
    xs, ys = (_decades(min(p[axis] for p in points), max(p[axis] for p in points)) for axis in (0, 1))

    def x(value: float) -> float:
        return x0 + wide * math.log10(value / xs[0]) / (math.log10(xs[-1] / xs[0]) or 1)

    def y(value: float) -> float:
        return y0 + high - high * math.log10(value / ys[0]) / (math.log10(ys[-1] / ys[0]) or 1)

    parts = [_text(x0, y0 - 8, name)]
    for tick in xs:
        parts.append(f'<line class="g" x1="{x(tick):.1f}" y1="{y0}" x2="{x(tick):.1f}" y2="{y0 + high}"/>')
        parts.append(_text(x(tick), y0 + high + 15, f"{tick:g}", 'text-anchor="middle"'))
    for tick in ys:
        parts.append(f'<line class="g" x1="{x0}" y1="{y(tick):.1f}" x2="{x0 + wide}" y2="{y(tick):.1f}"/>')
        parts.append(_text(x0 - 4, y(tick) + 4, f"{tick:g}", 'text-anchor="end"'))
    for number, (label, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in line]
        at = f'text-anchor="end" style="fill:{colour}"'
        parts.append(_text(x0 + wide - 70 * number, y0 - 8, label, at))
    return parts
