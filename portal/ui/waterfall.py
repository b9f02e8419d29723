"""One bar of a waterfall: when something ran within a longer time."""

from __future__ import annotations

from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

# So that an instant can still be seen: in percent of the whole time.
WIDTH_MIN = Decimal("0.8")


def bar(left: Decimal, width: Decimal, tone: str = "") -> SafeString:
    """Return the bar; both figures are in percent of the whole time."""
    wide = min(Decimal(100), max(width, WIDTH_MIN))
    start = min(left, Decimal(100) - wide)
    return format_html(
        '<svg class="plot fall {}" viewBox="0 0 100 10" preserveAspectRatio="none"'
        ' aria-hidden="true"><line x1="0" x2="100" y1="9.5" y2="9.5"/>'
        '<rect x="{}" width="{}" y="1" height="7"/></svg>',
        tone,
        f"{start:.2f}",
        f"{wide:.2f}",
    )
