"""What a month's usage offers to ask about: who used which models, and other models."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Q, Sum
from django.db.models.functions import TruncMonth

from aforo.lib import clock, ids
from billing.models import Customer
from catalog.costs import SOURCES
from catalog.models import CostRate, Product
from metering.models import UsageRollup

# As many months are offered; older ones can be asked for through the address.
MONTHS_MAX = 24
# As many customers are offered, those with the most events first; any can be typed.
CUSTOMERS_MAX = 200
MILLION = 1_000_000
IN, OUT = "input_uncached_tokens", "output_tokens"


@dataclass(frozen=True, slots=True)
class Seen:
    """Something of a month's usage, and how many events it has."""

    value: str  # As the form sends it.
    label: str
    events: int
    model: str = ""
    provider: str = ""
    key: uuid.UUID | None = None  # Of a customer or a product.


@dataclass(frozen=True, slots=True)
class Target:
    """A model that usage could move to, with what a million of its tokens cost."""

    provider: str
    model: str
    currency: str
    price_in: Decimal | None
    price_out: Decimal | None

    @property
    def value(self) -> str:
        """What the form sends."""
        return f"{self.provider}/{self.model}"


def month_start(day: dt.date) -> dt.datetime:
    """Return the instant (UTC) at which the month of a day begins."""
    return dt.datetime(day.year, day.month, 1, tzinfo=dt.UTC)


def month_end(day: dt.date) -> dt.datetime:
    """Return the instant (UTC) at which the month of a day ends."""
    return month_start((month_start(day) + dt.timedelta(days=32)).date())


def months() -> list[tuple[dt.date, int]]:
    """Return the months that have usage with their events, the newest first."""
    rows = UsageRollup.objects.order_by().annotate(
        month=TruncMonth("hour", tzinfo=dt.UTC)
    )
    found = rows.values_list("month").annotate(Sum("event_count")).order_by("-month")
    return [(at.date(), count) for at, count in found[:MONTHS_MAX]]


def default_month(known: Sequence[tuple[dt.date, int]]) -> dt.date:
    """Return the last closed month, or the newest with usage before there is one."""
    this = clock.now().date().replace(day=1)
    last = (this - dt.timedelta(days=1)).replace(day=1)
    used = [day for day, _ in known]
    return last if last in used or not used else used[0]


@dataclass(frozen=True, slots=True)
class Month:
    """What can be asked about one month."""

    day: dt.date  # Its first.
    models: list[Seen]
    customers: list[Seen]
    products: list[Seen]

    @property
    def label(self) -> str:
        """The month in words."""
        return f"{self.day:%B %Y}"


def month(day: dt.date) -> Month:
    """Return what was used in the month of a day; five statements."""
    rows = UsageRollup.objects.filter(
        hour__gte=month_start(day), hour__lt=month_end(day)
    )
    calls = Sum("event_count")
    models = rows.exclude(model="").order_by().values_list("provider", "model")
    counted = sorted(models.annotate(calls), key=lambda r: (-r[2], r[1], r[0]))
    return Month(
        day,
        [
            Seen(f"{maker}/{name}", name, count, model=name, provider=maker)
            for maker, name, count in counted
            if count > 0
        ],
        _customers(dict(rows.order_by().values_list("customer_id").annotate(calls))),
        _products(dict(rows.order_by().values_list("product_id").annotate(calls))),
    )


def _customers(counts: dict[uuid.UUID, int]) -> list[Seen]:
    """Return who used something; two of one name are told apart by their ids."""
    most = sorted(counts, key=lambda key: -counts[key])[:CUSTOMERS_MAX]
    found = list(Customer.objects.filter(pk__in=most))
    names = [row.name for row in found]
    return [
        Seen(
            row.name if names.count(row.name) == 1 else row.public_id,
            row.name,
            counts[row.pk],
            key=row.pk,
        )
        for row in sorted(found, key=lambda row: row.name.lower())
    ]


def _products(counts: dict[uuid.UUID | None, int]) -> list[Seen]:
    """Return which products were used, by name."""
    rows = Product.objects.filter(pk__in=[key for key in counts if key])
    return [
        Seen(row.public_id, row.name, counts[row.pk], key=row.pk)
        for row in rows.order_by("name")
    ]


def targets(tenant_id: uuid.UUID) -> list[Target]:
    """Return the models whose tokens have a known rate now, by provider; one statement.

    The shown price is that of an ordinary request: no context, region or hour.
    """
    now = clock.now()
    rates = CostRate.objects.filter(
        Q(tenant=None) | Q(tenant=tenant_id),
        Q(valid_to=None) | Q(valid_to__gt=now),
        superseded_at=None,
        valid_from__lte=now,
        unit__in=(IN, OUT),
        context="",
        region="",
        hours="",
        above_tokens=0,
    )
    prices: dict[tuple[str, str], dict[str, tuple[Decimal, str]]] = {}
    # What a contract says comes last, and is what counts; see catalog.costs.
    ranked = sorted(rates, key=lambda r: (-SOURCES[r.source], r.valid_from))
    for rate in ranked:
        per_million = rate.amount * MILLION / rate.per
        own = prices.setdefault((rate.provider, rate.model), {})
        own[rate.unit] = (per_million, rate.currency)
    return [
        Target(
            provider,
            model,
            next(iter(parts.values()))[1],
            parts.get(IN, (None, ""))[0],
            parts.get(OUT, (None, ""))[0],
        )
        for (provider, model), parts in sorted(prices.items())
    ]


def customer_of(text: str) -> list[Customer]:
    """Return the customers that a text names: our id, their id or the whole name."""
    return list(Customer.objects.filter(_named(text))[:3])


def _named(text: str) -> Q:
    """Return the condition for customers that a text names."""
    key = ids.parse_public("cus", text)
    match = Q(name__iexact=text) | Q(external_id=text)
    return match | Q(pk=key) if key else match
