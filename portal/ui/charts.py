"""Charts as server-made SVG: geometry in exact decimals, colours in the style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# Marks that tell series apart without colour, in the order of the series classes.
MARKS = "●■▲◆★○"
HUNDRED = Decimal(100)


def _place(value: Decimal) -> str:
    """Return a coordinate with at most two places."""
    return format(value.quantize(Decimal("0.01")).normalize(), "f")


def share_of(value: Decimal, whole: Decimal) -> Decimal:
    """Return value / whole in percent, between 0 and 100; 0 of nothing is 0."""
    if whole <= 0 or value <= 0:
        return Decimal(0)
    return min(HUNDRED, value * 100 / whole)


def sparkline(values: Sequence[Decimal | int], label: str) -> SafeString:
    """Return a small line of the values' course; `label` says what it shows."""
    points = [Decimal(v) for v in values]
    if len(points) < 2:
        return SafeString("")
    low, high = min(points), max(points)
    spread = (high - low) or Decimal(1)
    step = HUNDRED / (len(points) - 1)
    pairs = [
        f"{_place(step * i)},{_place(26 - (v - low) * 24 / spread)}"
        for i, v in enumerate(points)
    ]
    line = " ".join(pairs)
    return format_html(
        '<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><polygon points="0,28 {} 100,28"/>'
        '<polyline points="{}"/></svg>',
        label,
        line,
        line,
    )


def columns(values: Sequence[Decimal | int], label: str) -> SafeString:
    """Return upright bars from zero, one per value, in equal steps."""
    sizes = [max(Decimal(v), Decimal(0)) for v in values]
    if not sizes:
        return SafeString("")
    top = max(sizes) or Decimal(1)
    step = HUNDRED / len(sizes)
    # A hair of every non-zero bar is visible, however small its share.
    bars = (
        (
            _place(step * i + step * Decimal("0.12")),
            _place(40 - height),
            _place(step * Decimal("0.76")),
            _place(height),
        )
        for i, v in enumerate(sizes)
        if (height := max(v * 39 / top, Decimal("0.4") if v else Decimal(0)))
    )
    return format_html(
        '<svg class="plot" viewBox="0 0 100 40" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><line x1="0" x2="100" y1="40" y2="40"/>'
        '<line x1="0" x2="100" y1="20" y2="20"/><line x1="0" x2="100" y1="1" y2="1"/>'
        "{}</svg>",
        label,
        format_html_join("", '<rect x="{}" y="{}" width="{}" height="{}"/>', bars),
    )


def curve(
    points: Sequence[tuple[Decimal, Decimal]], at: Decimal, label: str
) -> SafeString:
    """Return a line through (x, y) from zero up, with a mark at an x."""
    if len(points) < 2:
        return SafeString("")
    right = max(x for x, _ in points) or Decimal(1)
    top = max(y for _, y in points) or Decimal(1)
    line = " ".join(
        f"{_place(x * 100 / right)},{_place(40 - max(y, Decimal(0)) * 39 / top)}"
        for x, y in points
    )
    here = _place(share_of(at, right))
    return format_html(
        '<svg class="plot curve" viewBox="0 0 100 40" preserveAspectRatio="none"'
        ' role="img" aria-label="{}"><line x1="0" x2="100" y1="40" y2="40"/>'
        '<line x1="0" x2="100" y1="1" y2="1"/><polyline points="{}"/>'
        '<line class="here" x1="{}" x2="{}" y1="0" y2="40"/></svg>',
        label,
        line,
        here,
        here,
    )


def bar(value: Decimal | int, whole: Decimal | int) -> SafeString:
    """Return one lying bar, its length the value's share of the whole."""
    return format_html(
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{}" height="10" rx="0.6"/></svg>',
        _place(share_of(Decimal(value), Decimal(whole))),
    )


def share(values: Sequence[Decimal | int], label: str) -> SafeString:
    """Return one bar cut into the values' shares of their sum."""
    sizes = [max(Decimal(v), Decimal(0)) for v in values]
    whole = sum(sizes, Decimal(0))
    at = Decimal(0)
    pieces = []
    for index, size in enumerate(sizes):
        width = share_of(size, whole)
        pieces.append(
            (
                f"s{index % 6 + 1}",
                _place(at),
                _place(max(width - Decimal("0.4"), width / 2)),
            )
        )
        at += width
    return format_html(
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"'
        ' aria-label="{}">{}</svg>',
        label,
        format_html_join(
            "", '<rect class="{}" x="{}" width="{}" height="10"/>', pieces
        ),
    )


def meter(used: Decimal, limit: Decimal, warn_at: Decimal, label: str) -> SafeString:
    """Return how much of a limit is used; `warn_at` is a ratio, marked by a line."""
    portion = share_of(used, limit)
    tone = "bad" if portion >= 100 else "warn" if portion >= warn_at * 100 else "ok"
    return format_html(
        '<svg class="meter {}" viewBox="0 0 100 10" preserveAspectRatio="none"'
        ' role="meter" aria-label="{}" aria-valuemin="0" aria-valuemax="100"'
        ' aria-valuenow="{}">'
        '<rect width="{}" height="10"/><line x1="{}" x2="{}" y1="0" y2="10"/></svg>',
        tone if tone != "ok" else "",
        label,
        _place(portion),
        _place(portion),
        _place(warn_at * 100),
        _place(warn_at * 100),
    )


def stacked(series: Sequence[Sequence[Decimal]], label: str) -> SafeString:
    """Return upright bars in equal steps, each the series on top of one another."""
    count = len(series[0]) if series else 0
    if not count:
        return SafeString("")
    heights = [
        sum((max(s[i], Decimal(0)) for s in series), Decimal(0)) for i in range(count)
    ]
    top = max(heights) or Decimal(1)
    step = HUNDRED / count
    pieces = []
    for i in range(count):
        base = Decimal(40)
        for number, values in enumerate(series):
            height = max(values[i], Decimal(0)) * 39 / top
            if not height:
                continue
            base -= height
            pieces.append(
                (
                    f"s{number % 6 + 1}",
                    _place(step * i + step * Decimal("0.12")),
                    _place(base),
                    _place(step * Decimal("0.76")),
                    _place(max(height, Decimal("0.2"))),
                )
            )
    return _plot(
        label,
        format_html_join(
            "", '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>', pieces
        ),
    )


# How lines differ without colour: solid, dashed, dotted, …
DASHES = ("none", "6 3", "2 3", "9 3 2 3", "1 2", "12 4")


def lines(series: Sequence[Sequence[Decimal]], label: str) -> SafeString:
    """Return one line for each series over equal steps, from zero up."""
    count = len(series[0]) if series else 0
    if count < 2:
        return stacked(series, label)
    top = max((v for values in series for v in values), default=Decimal(1)) or 1
    step = HUNDRED / (count - 1)
    pieces = (
        (
            f"line s{number % 6 + 1}",
            DASHES[number % 6],
            " ".join(
                f"{_place(step * i)},{_place(40 - max(v, Decimal(0)) * 39 / top)}"
                for i, v in enumerate(values)
            ),
        )
        for number, values in enumerate(series)
    )
    return _plot(
        label,
        format_html_join(
            "", '<polyline class="{}" stroke-dasharray="{}" points="{}"/>', pieces
        ),
    )


def _plot(label: str, inside: SafeString) -> SafeString:
    """Return a plot with its three lines of reference."""
    return format_html(
        '<svg class="plot" viewBox="0 0 100 40" preserveAspectRatio="none" role="img"'
        ' aria-label="{}"><line x1="0" x2="100" y1="40" y2="40"/>'
        '<line x1="0" x2="100" y1="20" y2="20"/><line x1="0" x2="100" y1="1" y2="1"/>'
        "{}</svg>",
        label,
        inside,
    )
