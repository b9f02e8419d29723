"""Billing periods: calendar months of the customer's zone, as stored UTC instants."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

from billing.models import BillingPeriod, Customer

# A change of zone moves the next boundary, yet never makes a period so short.
SHORTEST = dt.timedelta(days=15)
SECOND = dt.timedelta(seconds=1)


def tzdata_version() -> str:
    """Return the release of the time zone rules in use, such as 2025b."""
    for folder in TZPATH:
        try:
            with open(Path(folder, "tzdata.zi")) as rules:
                return rules.readline().removeprefix("# version ").strip()[:20]
        except OSError:
            continue
    return "unknown"


def first_instant(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    """Return the UTC instant at which a day begins in a zone.

    A midnight that comes twice is the earlier one; one that is skipped is the
    first instant after the gap.
    """
    midnight = dt.datetime.combine(day, dt.time())
    early, late = sorted(
        midnight.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)
    )
    if _local(early, zone) == midnight:
        return early
    # Inside a gap one reading lies before it and the other after: find its end.
    while late - early > SECOND:
        middle = early + (late - early) // 2
        middle = middle.replace(microsecond=0)
        if _local(middle, zone) >= midnight:
            late = middle
        else:
            early = middle
    return late


def _local(instant: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return what the clocks of a zone show, without the zone."""
    return instant.astimezone(zone).replace(tzinfo=None)


def _first_of_month(day: dt.date, months: int) -> dt.date:
    """Return the first day of the month that is so many months from a day's."""
    count = day.year * 12 + day.month - 1 + months
    return dt.date(count // 12, count % 12 + 1, 1)


def month_bounds(
    instant: dt.datetime, zone: ZoneInfo
) -> tuple[dt.datetime, dt.datetime]:
    """Return [start, end) of the calendar month of a zone that holds an instant."""
    day = instant.astimezone(zone).date()
    # Where a midnight comes twice, what follows the first one is the new month,
    # although the clocks show the old one again for a while.
    for months in (0, 1):
        start = first_instant(_first_of_month(day, months), zone)
        end = first_instant(_first_of_month(day, months + 1), zone)
        if start <= instant < end:
            return start, end
    raise AssertionError(f"no month of {zone} holds {instant}")


def bounds_after(start: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return the end of a period that begins where the one before it ended."""
    _, end = month_bounds(start, zone)
    return end if end - start >= SHORTEST else month_bounds(end, zone)[1]


def _bounds_before(end: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """Return the start of a period that ends where the one after it began."""
    start, _ = month_bounds(end - SECOND, zone)
    return start if end - start >= SHORTEST else month_bounds(start - SECOND, zone)[0]


def find(customer_id: uuid.UUID, instant: dt.datetime) -> BillingPeriod | None:
    """Return the stored period that holds an instant, if there is one."""
    return BillingPeriod.objects.filter(
        customer_id=customer_id, start_at__lte=instant, end_at__gt=instant
    ).first()


def period_at(customer_id: uuid.UUID, instant: dt.datetime) -> BillingPeriod:
    """Return the period that holds an instant, made if need be.

    The caller holds the customer's books. Periods are contiguous: all that lie
    between the instant and the stored ones are made too, without what is due at
    their start (`billing.recurring.open_due` posts that).
    """
    found = find(customer_id, instant)
    if found is not None:
        return found
    customer = Customer.objects.get(pk=customer_id)
    zone = ZoneInfo(customer.timezone)
    stored = BillingPeriod.objects.filter(customer_id=customer_id)
    last = stored.order_by("-start_at").first()
    if last is None:
        start, end = month_bounds(instant, zone)
        return _make(customer, start, end)
    if instant >= last.end_at:
        made = last
        while instant >= made.end_at:
            end = bounds_after(made.end_at, zone)
            made = _make(customer, made.end_at, end)
        return made
    made = stored.order_by("start_at")[0]
    while instant < made.start_at:
        start = _bounds_before(made.start_at, zone)
        made = _make(customer, start, made.start_at)
    return made


def _make(customer: Customer, start: dt.datetime, end: dt.datetime) -> BillingPeriod:
    """Store a period."""
    return BillingPeriod.objects.create(
        tenant_id=customer.tenant_id,
        customer=customer,
        start_at=start,
        end_at=end,
        timezone=customer.timezone,
    )


def days(start: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> int:
    """Return how many days of a zone [start, end) touches; proration counts them."""
    first = start.astimezone(zone).date()
    last = (end - dt.timedelta(microseconds=1)).astimezone(zone).date()
    return (last - first).days + 1
