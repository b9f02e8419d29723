"""What models, tools and infrastructure cost, and what has no price."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from aforo.lib import sql
from catalog import costs
from catalog.cost_context import Situation
from catalog.models import CostChange, CostRate

LOOK_BACK = dt.timedelta(days=90)
ROWS_MAX = 300
MILLION = 1_000_000

SEEN = """
SELECT DISTINCT model FROM metering_usagerollup
WHERE tenant_id = %b AND hour >= %b AND model <> ''
"""
GAPS = """
SELECT r.model, r.tool_name, r.event_type, sum(r.cost_unknown_count)::bigint AS calls,
  max(r.hour), count(DISTINCT r.customer_id),
  (SELECT f.unknown FROM metering_costfact f
   WHERE f.tenant_id = %(tenant)b AND f.model = r.model AND f.unknown <> ''
     AND f.occurred_at >= max(r.hour)
     AND f.occurred_at < max(r.hour) + interval '1 hour'
   LIMIT 1)
FROM metering_usagerollup r
WHERE r.tenant_id = %(tenant)b AND r.hour >= %(since)b AND r.cost_unknown_count > 0
GROUP BY 1, 2, 3 ORDER BY calls DESC LIMIT 200
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Usage whose cost is not known."""

    model: str
    tool: str
    event_type: str
    calls: int
    last: dt.datetime
    customers: int
    reason: str
    since: dt.datetime  # From when on it is counted.

    @property
    def name(self) -> str:
        """What needs a price."""
        return self.model or self.tool or self.event_type

    @property
    def provider(self) -> str:
        """What a rate for it names as provider; of a model the person knows it."""
        return "" if self.model else "tool" if self.tool else "event"

    @property
    def events_url(self) -> str:
        """The events whose cost is not known for want of it."""
        names = {"model": self.model, "tool": self.tool, "type": self.event_type}
        query = {name: text for name, text in names.items() if text}
        if lacking := ",".join(n for n in ("model", "tool") if n not in query):
            query["without"] = lacking
        since = f"{self.since:%Y-%m-%dT%H:%MZ}"
        return f"/events?{urlencode(query | {'cost': 'unknown', 'since': since})}"

    @property
    def unit(self) -> str:
        """The unit that a rate for it most likely has."""
        if self.model:
            return "input_uncached_tokens"
        return f"{self.provider}.call"


def gaps(tenant_id: uuid.UUID, now: dt.datetime) -> list[Gap]:
    """Return usage of the last 90 days whose cost is not known, the most first."""
    # Hourly sums are looked at, so the span begins with an hour.
    since = (now - LOOK_BACK).replace(minute=0, second=0, microsecond=0)
    asked = {"tenant": tenant_id, "since": since}
    with sql.cursor() as cursor:
        found = cursor.execute(GAPS, asked).fetchall()
    return [
        Gap(model, tool, kind, calls, last, customers, reason or "no rate", since)
        for model, tool, kind, calls, last, customers, reason in found
    ]


def in_use(tenant_id: uuid.UUID, now: dt.datetime) -> set[str]:
    """Return the names under which models that were used are listed."""
    with sql.cursor() as cursor:
        rows = cursor.execute(SEEN, [tenant_id, now - LOOK_BACK]).fetchall()
    book = costs.load([tenant_id])[tenant_id]
    return {book.sheet(model, Situation()).name for (model,) in rows}


def rates(
    tenant_id: uuid.UUID,
    now: dt.datetime,
    *,
    search: str = "",
    everything: bool = False,
) -> QuerySet[CostRate]:
    """Return the rates known now: of what is used or entered by hand, or all."""
    found = CostRate.objects.filter(superseded_at=None).filter(
        Q(tenant=None) | Q(tenant=tenant_id)
    )
    for word in search.split():
        found = found.filter(Q(model__icontains=word) | Q(provider__icontains=word))
    if not everything:
        used = in_use(tenant_id, now)
        found = found.filter(Q(tenant=tenant_id) | Q(model__in=used))
    return found.order_by(
        "model", "provider", "context", "unit", "above_tokens", "hours", "-valid_from"
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """A rate as the page shows it."""

    rate: CostRate
    now: dt.datetime

    @property
    def price(self) -> Decimal:
        """The amount of what it is shown per."""
        rate = self.rate
        if rate.per != 1 or not self.is_tokens:
            return Decimal(rate.amount)
        return Decimal(rate.amount * MILLION)

    @property
    def is_tokens(self) -> bool:
        """Whether prices of its unit are told per million."""
        return self.rate.unit.endswith("tokens")

    @property
    def per(self) -> str:
        """Of how many units the price is."""
        if self.rate.per != 1:
            return f"per {self.rate.per:,}"
        return "per 1M" if self.is_tokens else "each"

    @property
    def conditions(self) -> str:
        """When it is the rate of a call, besides its time."""
        rate = self.rate
        parts = [
            rate.context,
            rate.region,
            f"prompts over {rate.above_tokens:,} tokens" if rate.above_tokens else "",
            f"{rate.hours} UTC" if rate.hours else "",
        ]
        return " · ".join(part for part in parts if part)

    @property
    def standing(self) -> str:
        """Whether it is in force."""
        if self.rate.valid_from > self.now:
            return "scheduled"
        if self.rate.valid_to and self.rate.valid_to <= self.now:
            return "ended"
        return "active"


def changes(tenant_id: uuid.UUID) -> QuerySet[CostChange]:
    """Return what the price list changed, the newest first."""
    found = CostChange.objects.filter(Q(tenant=None) | Q(tenant=tenant_id))
    return found.order_by("-pk")


CSV_HEAD = (
    "provider model unit context region above_tokens hours amount per currency source"
    " valid_from valid_to"
).split()


def csv_rows(found: QuerySet[CostRate]) -> Iterator[list[Any]]:
    """Yield the rates as cells."""
    for rate in found.iterator(1_000):
        yield [getattr(rate, name) for name in CSV_HEAD]


GAPS_HEAD = "model tool event_type calls customers last_hour_utc reason".split()
CHANGES_HEAD = (
    "created_utc provider model unit context before after ratio state decided_by"
).split()


def gap_cells(gap: Gap) -> list[Any]:
    """Return what has no price as cells."""
    who = [gap.model, gap.tool, gap.event_type]
    return [*who, gap.calls, gap.customers, gap.last, gap.reason]


def change_cells(row: CostChange) -> list[Any]:
    """Return a change of the price list as cells."""
    key, before, after = row.key, row.before or {}, row.after or {}
    what = [
        row.created_at,
        row.provider,
        row.model,
        key.get("unit"),
        key.get("context"),
    ]
    amounts = [before.get("amount"), after.get("amount"), row.ratio]
    return [*what, *amounts, row.state, row.decided_by]
