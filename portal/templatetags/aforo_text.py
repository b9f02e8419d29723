"""Small parts of text: `code` in it, figures as links or dashes, bars beside."""

from __future__ import annotations

import re
from decimal import Decimal

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from aforo.lib.money import display
from portal.ui import charts, figures

register = template.Library()

CODE = re.compile(r"`([^`\n]+)`")


@register.filter
def with_code(text: str) -> SafeString:
    """Return the text as HTML, what stands between backticks as code."""
    return SafeString(CODE.sub(r"<code>\1</code>", escape(text)))


@register.simple_tag
def linked(value: SafeString | str, url: str = "") -> SafeString:
    """Return a figure as the link to what is behind it; without a page, as it is.

    {% money now.revenue currency as revenue %}{% linked revenue usage_url as shown %}
    """
    if not url:
        return format_html("{}", value)
    return format_html('<a class="figure" href="{}">{}</a>', url, value)


@register.simple_tag
def revenue(found: figures.Earned, url: str = "") -> SafeString:
    """Return the revenue of figures, a dash where nothing was rated: {% revenue f %}.

    With `url` it is the link to what is behind it; there is nothing behind a dash.
    """
    shown = figures.revenue(found)
    return shown if found.known_revenue is None else linked(shown, url)


@register.simple_tag
def margin(found: figures.Earned) -> SafeString:
    """Return the margin of figures in the wording of all pages: {% margin f %}.

    Where costs are not known it says "at most".
    """
    return figures.margin_of(found)


@register.simple_tag
def margin_at(
    ratio: Decimal | None, unknown: int = 0, reason: str = "", places: int = 1
) -> SafeString:
    """Return a margin that is a bare ratio: {% margin_at t.margin result.unknown %}."""
    return figures.margin(ratio, unknown, places, reason)


@register.simple_tag
def part_bar(value: Decimal | None, whole: Decimal | None) -> SafeString:
    """Return a small bar of a part's share; nothing where there is no share."""
    if value is None or value <= 0 or not whole or whole <= 0:
        return SafeString("")
    return format_html('<span class="part">{}</span>', charts.bar(value, whole))


@register.simple_tag
def cap_text(used: Decimal, limit: Decimal, currency: str) -> str:
    """Return how much of a cap is used: $12.40 of $25.00."""
    return f"{display(used, currency)} of {display(limit, currency)}"
