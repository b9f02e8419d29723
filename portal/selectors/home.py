"""What Home shows: what happens now, what needs somebody, what is still to set up."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from django.db.models import Count, Min, Sum

from aforo.core.models import Notification, ServiceKey
from billing.models import Credential, Customer, CustomerBooks, Subscription
from catalog.models import PlanVersion, Product
from guard.models import DoorCount
from metering.blocks import UNREAD
from metering.models import PendingEvents, Unrateable, UsageEvent
from portal.selectors.figures import Span, unknown_costs

FEED_ROWS = 20
# The latest rated events over which "per call" figures are taken.
SAMPLE_EVENTS = 1_000
# Events wait this long at most; older ones mean that no worker runs.
PENDING_LIMIT = dt.timedelta(seconds=60)
CHECK_WINDOW_MIN = 5
TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Fed:
    """One rated event, as the live feed shows it."""

    event_id: uuid.UUID
    at: dt.datetime
    customer: str
    event_type: str
    tool_name: str
    amount: Decimal
    currency: str


FEED = """
SELECT e.event_id, e.recorded_at, c.name, e.event_type, e.tool_name, e.amount,
  e.currency
FROM (
  SELECT * FROM billing_ledgerentry
  WHERE event_id IS NOT NULL AND kind IN ('usage', 'adjustment')
    AND (%(ids)s::uuid[] IS NULL OR event_id = ANY(%(ids)s))
  ORDER BY id DESC LIMIT %(limit)s
) e JOIN billing_customer c ON c.id = e.customer_id
ORDER BY e.id DESC
"""


def feed() -> list[Fed]:
    """Return the events rated last, newest first."""
    return _feed(None, FEED_ROWS)


def fed(event_ids: Sequence[uuid.UUID]) -> list[Fed]:
    """Return these events as the feed shows them, newest first."""
    return _feed(list(event_ids), len(event_ids))


def _feed(event_ids: list[uuid.UUID] | None, limit: int) -> list[Fed]:
    with connection.cursor() as cursor:
        cursor.execute(FEED, {"ids": event_ids, "limit": limit})
        return [Fed(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the latest rated events say about charging."""

    events: int
    charges: Decimal | None  # Charges that price one event, on average.
    dimensions: int  # Different charges among them.
    attributed: Decimal | None  # The part of the money that names its request.

    @property
    def charges_shown(self) -> Decimal | None:
        """The average with one decimal."""
        return None if self.charges is None else self.charges.quantize(TENTH)


SAMPLE = """
WITH latest AS (
  SELECT event_id, basis_id, abs(amount) AS size FROM billing_ledgerentry
  WHERE event_id IS NOT NULL AND kind IN ('usage', 'adjustment')
  ORDER BY id DESC LIMIT %s
)
SELECT count(*), avg(cardinality(b.charge_keys)),
  (SELECT count(DISTINCT key) FROM latest
    JOIN billing_ledgerbasis own ON own.id = latest.basis_id,
    unnest(charge_keys) AS key),
  sum(l.size) FILTER (WHERE u.request_id <> '' OR u.correlation_id <> '')
    / nullif(sum(l.size), 0)
FROM latest l JOIN metering_usageevent u ON u.id = l.event_id
JOIN billing_ledgerbasis b ON b.id = l.basis_id
"""


def sample() -> Sample:
    """Return the averages of the latest rated events; one statement."""
    with connection.cursor() as cursor:
        cursor.execute(SAMPLE, [SAMPLE_EVENTS])
        return Sample(*cursor.fetchone())


def checks_per_minute(now: dt.datetime) -> Decimal | None:
    """Return the guard's checks a minute over the last five; None before any."""
    this_minute = now.replace(second=0, microsecond=0)
    rows = DoorCount.objects.filter(
        minute__gte=this_minute - dt.timedelta(minutes=CHECK_WINDOW_MIN),
        minute__lt=this_minute,
    )
    sums = rows.aggregate(
        minutes=Count("pk"), a=Sum("allowed"), t=Sum("throttled"), d=Sum("denied")
    )
    if not sums["minutes"]:
        return None
    return Decimal(sums["a"] + sums["t"] + sums["d"]) / CHECK_WINDOW_MIN


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs a person: what, how much of it, and where to act."""

    tone: str  # warn or bad
    title: str
    text: str
    url: str
    action: str


def concerns(span: Span) -> list[Concern]:
    """Return what needs somebody now, the worst first."""
    found = [*_parked(), *_pending(span.end), *_unrateable()]
    found += [*_notifications(), *_unknown_costs(span)]
    return sorted(found, key=lambda e: e.tone != "bad")


def _parked() -> list[Concern]:
    """Return the customers whose books hit a safety bound."""
    books = CustomerBooks.objects.filter(parked_at__isnull=False)
    return [
        Concern(
            "bad",
            f"Books of {row.customer} are parked",
            row.parked_reason or "A safety bound was hit; nothing is issued.",
            f"/customers/{row.customer.public_id}",
            "Open customer",
        )
        for row in books.select_related("customer").order_by("parked_at")[:5]
    ]


def _pending(now: dt.datetime) -> list[Concern]:
    """Return events that wait for rating longer than they should."""
    late = PendingEvents.objects.filter(received_at__lt=now - PENDING_LIMIT)
    sums = late.aggregate(batches=Count("pk"), oldest=Min("received_at"))
    if not sums["batches"]:
        return []
    minutes = int((now - sums["oldest"]).total_seconds() // 60)
    return [
        Concern(
            "bad",
            "Events wait to be rated",
            f"{sums['batches']:,} deliveries wait; the oldest for {minutes} min."
            " Is the worker running?",
            "/events?status=pending",
            "See them",
        )
    ]


def _unrateable() -> list[Concern]:
    """Return the reasons for which events have no price, with their numbers."""
    rows = (
        Unrateable.objects.filter(resolved_at__isnull=True)
        .values_list("reason")
        .annotate(Count("pk"))
        .order_by("-pk__count")
    )
    labels = dict(Unrateable.Reason.choices)
    return [
        Concern(
            "warn",
            f"{count:,} event{'' if count == 1 else 's'} without a price",
            f"{labels.get(reason, reason)}.",
            f"/events?status=unrateable&reason={reason}",
            "See and replay",
        )
        for reason, count in rows
    ]


def _notifications() -> list[Concern]:
    """Return what the product itself reported and nobody resolved."""
    rows = Notification.objects.filter(resolved_at__isnull=True).exclude(severity="ok")
    return [
        Concern(
            "bad" if note.severity == Notification.Severity.BLOCK else "warn",
            note.text,
            "",
            note.url,
            "Open",
        )
        for note in rows[:5]
    ]


def _why(span: Span) -> str:
    """Say what the costs of a span are not known for want of."""
    listed = Unrateable.objects.filter(
        resolved_at=None,
        reason__in=UNREAD,
        event__occurred_at__gte=span.start,
        event__occurred_at__lt=span.end,
        event__void__isnull=True,
    ).count()
    if not listed:
        return "They lack a cost rate."
    return f"The usage of {listed:,} events could not be read; others lack a cost rate."


def _unknown_costs(span: Span) -> list[Concern]:
    """Return what has no cost rate, as one exception."""
    rows = unknown_costs(span)
    if not rows:
        return []
    names = [r["model"] or r["tool_name"] or r["event_type"] for r in rows]
    events = sum(r["events"] for r in rows)
    return [
        Concern(
            "warn",
            "Costs are not known",
            f"{events:,} events this month have no known cost, so their margin is"
            f" not known: {', '.join(dict.fromkeys(names))}. {_why(span)}",
            "/settings/model-prices?tab=gaps",
            "Model prices",
        )
    ]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of setting a tenant up."""

    done: bool
    title: str
    text: str
    url: str


def has_usage() -> bool:
    """Tell whether any event was ever stored."""
    return UsageEvent.objects.exists()


def setup_steps() -> Sequence[Step]:
    """Return the steps from nothing to a first rated event."""
    published = PlanVersion.objects.filter(state=PlanVersion.State.PUBLISHED)
    keys = ServiceKey.objects.exists() or Credential.objects.exists()
    return [
        Step(
            Product.objects.exists(),
            "Describe a product",
            "An API, an agent or an MCP server that you sell.",
            "/admin/catalog/product/add/",
        ),
        Step(
            published.exists(),
            "Publish a rate plan",
            "What usage costs. A published version never changes.",
            "/admin/catalog/plan/add/",
        ),
        Step(
            Customer.objects.exists(),
            "Add a customer",
            "Who pays, with teams and their agents.",
            "/admin/billing/customer/add/",
        ),
        Step(
            Subscription.objects.exists(),
            "Subscribe the customer",
            "It fixes the prices of that customer from a moment on.",
            "/admin/billing/subscription/add/",
        ),
        Step(
            keys,
            "Make a key",
            "Your gateway reports usage with it.",
            "/admin/core/servicekey/add/",
        ),
        Step(
            False,
            "Send a first event",
            "It appears on this page, rated, within a second.",
            "/events",
        ),
    ]
