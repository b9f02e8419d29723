"""How figures are written for people: money, quantities, shares, changes, times."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from django.utils.html import format_html
from django.utils.safestring import SafeString

from aforo.lib import money

# What stands where nothing is known; the reason is read aloud and on hover.
UNKNOWN = "—"


def unknown(reason: str) -> SafeString:
    """Return the dash that stands for an unknown figure, with its reason."""
    said = reason or "not known"
    return format_html(
        '<span class="unknown" title="{}"><span aria-hidden="true">{}</span>'
        '<span class="sr">unknown: {}</span></span>',
        said,
        UNKNOWN,
        said,
    )


def amount(value: Decimal | None, currency: str, reason: str = "") -> SafeString:
    """Return an amount as HTML, the exact figure in its title."""
    if value is None:
        return unknown(reason)
    exact = money.plain(value)
    return format_html(
        '<data class="money" value="{}" title="{} {}">{}</data>',
        exact,
        exact,
        currency,
        money.display(value, currency),
    )


def quantity_text(value: Decimal | int) -> str:
    """Return a quantity with thousands separators and at most four places."""
    exact = Decimal(value)
    rounded = exact.quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)
    if rounded == 0 and exact != 0:
        return "<0.0001" if exact > 0 else "−<0.0001"
    whole, _, fraction = money.plain(abs(rounded)).partition(".")
    text = f"{int(whole):,}" + (f".{fraction}" if fraction else "")
    return f"−{text}" if exact < 0 else text


def quantity(
    value: Decimal | int | None, unit: str = "", reason: str = ""
) -> SafeString:
    """Return a quantity as HTML, the exact figure in its title."""
    if value is None:
        return unknown(reason)
    exact = money.plain(Decimal(value))
    shown = quantity_text(value)
    return format_html(
        '<data class="qty" value="{}" title="{}">{}{}</data>',
        exact,
        f"{exact} {unit}".strip(),
        shown,
        f" {unit}" if unit else "",
    )


def percent_text(value: Decimal | None, places: int = 1) -> str:
    """Return a ratio (0.653) as a percentage (65.3 %), or the dash."""
    if value is None:
        return UNKNOWN
    step = Decimal(1).scaleb(-places)
    exact = value * 100
    shown = exact.quantize(step, rounding=ROUND_HALF_UP)
    # Nearly all is not all, and nearly nothing is not nothing: with more places where
    # two tell it, in words beyond.
    if (shown in (0, 100, -100)) and shown != exact:
        fine = exact.quantize(step.scaleb(-1), rounding=ROUND_HALF_UP)
        if fine not in (0, 100, -100):
            return f"{fine:,f} %".replace("-", "−")
        if shown == 0:
            sign = "<" if exact > 0 else ">−"
            return f"{sign}{step:f} %"
        near = shown - step if shown > 0 else shown + step
        # Just below 100 %, or just above it.
        if abs(exact) < 100:
            return f"{'>' if shown > 0 else '<'}{near:,f} %".replace("-", "−")
    if shown == 0:
        shown = abs(shown)
    return f"{shown:,f} %".replace("-", "−")


def percent(value: Decimal | None, places: int = 1, reason: str = "") -> SafeString:
    """Return a ratio as an HTML percentage."""
    if value is None:
        return unknown(reason)
    return format_html(
        '<data class="qty" value="{}">{}</data>',
        money.plain(value),
        percent_text(value, places),
    )


class Earned(Protocol):
    """What came in and what it cost, as far as it is known."""

    @property
    def currency(self) -> str:
        """The currency of the amounts."""

    @property
    def known_revenue(self) -> Decimal | None:
        """The revenue; None when nothing was rated."""

    @property
    def why_no_revenue(self) -> str:
        """Why the revenue may be a dash."""

    @property
    def margin_ratio(self) -> Decimal | None:
        """Margin over revenue; None when it is not known."""

    @property
    def why_unknown(self) -> str:
        """Why the margin may be a dash."""

    @property
    def unknown_count(self) -> int:
        """Of how many events the cost is not known."""


def revenue(found: Earned) -> SafeString:
    """Return the revenue as HTML; a dash where nothing was rated."""
    return amount(found.known_revenue, found.currency, found.why_no_revenue)


def margin(
    ratio: Decimal | None, unknown_count: int = 0, places: int = 1, reason: str = ""
) -> SafeString:
    """Return a margin as an HTML percentage: the one wording of every page.

    Costs that are not known are in no sum, so with any of them the margin is "at most"
    what is shown.
    """
    shown = percent(ratio, places, reason)
    if ratio is None or unknown_count <= 0:
        return shown
    plural = "" if unknown_count == 1 else "s"
    return format_html(
        '<span title="the cost of {} event{} is not known">at most {}</span>',
        f"{unknown_count:,}",
        plural,
        shown,
    )


def margin_of(found: Earned, places: int = 1) -> SafeString:
    """Return the margin of figures, as `margin` words it."""
    return margin(found.margin_ratio, found.unknown_count, places, found.why_unknown)


def margin_note(found: Earned, more: str = "") -> SafeString:
    """Return what stands under a margin's amount: at most 65.5 % of revenue.

    `more` follows it; where there is no margin, the reason stands there alone.
    """
    if found.margin_ratio is None:
        return format_html("{}", found.why_unknown)
    return format_html("{} of revenue{}", margin_of(found), more)


def utc(value: dt.datetime) -> dt.datetime:
    """Return the instant in UTC."""
    return value.astimezone(dt.UTC)


TIME_FORMATS = {
    "full": "%-d %b %Y, %H:%M:%S",
    "minute": "%-d %b %Y, %H:%M",
    "short": "%-d %b, %H:%M",
    "clock": "%H:%M:%S",
    "date": "%-d %b %Y",
}


def time_text(value: dt.datetime, style: str) -> str:
    """Return an instant as text in UTC: full, minute, short, clock, ms or date."""
    instant = utc(value)
    if style == "ms":
        return f"{instant:%H:%M:%S}.{instant.microsecond // 1000:03d}"
    return instant.strftime(TIME_FORMATS[style])


def time_html(
    value: dt.datetime | None, style: str = "minute", reason: str = ""
) -> SafeString:
    """Return a `<time>` in UTC; the browser adds the reader's own time on hover."""
    if value is None:
        return unknown(reason)
    instant = utc(value)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        time_text(instant, "full"),
        time_text(instant, style),
    )


def period_text(start: dt.datetime, end: dt.datetime, timezone: str = "UTC") -> str:
    """Return [start, end) in days of a zone: 1–31 Mar 2026 UTC."""
    zone = zoneinfo.ZoneInfo(timezone)
    first, last = (
        instant.astimezone(zone)
        for instant in (start, end - dt.timedelta(microseconds=1))
    )
    if (first.year, first.month, first.day) == (last.year, last.month, last.day):
        return f"{first:%-d %b %Y} {timezone}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{last:%-d %b %Y} {timezone}"
    if first.year == last.year:
        return f"{first:%-d %b} – {last:%-d %b %Y} {timezone}"
    return f"{first:%-d %b %Y} – {last:%-d %b %Y} {timezone}"


def duration_text(milliseconds: int | None) -> str:
    """Return a duration as people say it: 480 ms, 1.8 s, 2 min 3 s, 5 h 12 min."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        tenths = (Decimal(milliseconds) / 1000).quantize(Decimal("0.1"))
        return f"{money.plain(tenths)} s"
    seconds = milliseconds // 1000
    days, hours = divmod(seconds // 3600, 24)
    minutes = seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s"
