"""What models, tools and infrastructure cost, and what has no price."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from aforo.lib import sql
from catalog import costs
from catalog.cost_context import Situation
from catalog.costs import SOURCES
from catalog.models import CostChange, CostRate
from metering.batch import NOT_MEASURED
from metering.blocks import UNREAD
from metering.models import Unrateable

Reason = Unrateable.Reason
LOOK_BACK = dt.timedelta(days=90)
ROWS_MAX = 300
MILLION = 1_000_000

SEEN = """
SELECT DISTINCT model FROM metering_usagerollup
WHERE tenant_id = %b AND hour >= %b AND model <> ''
"""
# Usage whose block was not read costs nothing known whatever rates there are: it is
# counted apart from usage that lacks a rate, by customer so that both counts are exact.
GAPS = """
WITH unread AS (
  SELECT COALESCE(e.body->'properties'->>'model', '') AS model, e.tool_name,
    e.event_type, e.customer_id, u.reason, count(*) AS calls,
    max(date_trunc('hour', e.occurred_at, 'UTC')) AS last
  FROM metering_unrateable u JOIN metering_usageevent e ON e.id = u.event_id
  WHERE u.tenant_id = %(tenant)b AND u.resolved_at IS NULL
    AND u.reason = ANY(%(unread)b) AND e.occurred_at >= %(since)b
    AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
  GROUP BY 1, 2, 3, 4, 5
), counted AS (
  SELECT model, tool_name, event_type, customer_id,
    sum(cost_unknown_count) AS calls, max(hour) AS last
  FROM metering_usagerollup
  WHERE tenant_id = %(tenant)b AND hour >= %(since)b AND cost_unknown_count > 0
  GROUP BY 1, 2, 3, 4
), lacking AS (
  SELECT c.model, c.tool_name, c.event_type, c.customer_id, c.last,
    c.calls - COALESCE((SELECT sum(u.calls) FROM unread u
      WHERE (u.model, u.tool_name, u.event_type, u.customer_id)
        = (c.model, c.tool_name, c.event_type, c.customer_id)), 0) AS calls
  FROM counted c
), found AS (
  SELECT model, tool_name, event_type, '' AS reason, sum(calls)::bigint AS calls,
    max(last) AS last, count(*) AS customers
  FROM lacking WHERE calls > 0 GROUP BY 1, 2, 3
  UNION ALL
  SELECT model, tool_name, event_type, reason, sum(calls)::bigint, max(last),
    count(*)
  FROM unread GROUP BY 1, 2, 3, 4
)
SELECT r.model, r.tool_name, r.event_type, r.calls, r.last, r.customers, r.reason,
  (SELECT f.unknown FROM metering_costfact f JOIN metering_usageevent e
     ON e.id = f.event_id
   WHERE r.reason = '' AND f.tenant_id = %(tenant)b AND f.model = r.model
     AND f.unknown NOT IN ('', %(not_measured)b) AND e.event_type = r.event_type
     AND (e.tool_name = r.tool_name OR e.tool_name IN (
       SELECT n.name FROM catalog_toolname n JOIN catalog_tool t ON t.id = n.tool_id
       WHERE t.tenant_id = %(tenant)b AND t.name = r.tool_name))
     AND f.occurred_at >= r.last AND f.occurred_at < r.last + interval '1 hour'
   LIMIT 1)
FROM found r ORDER BY r.calls DESC, r.model, r.tool_name, r.event_type LIMIT 200
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
    unread: str = ""  # As what it is listed because its usage block was not read.

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
        query["since"] = f"{self.since:%Y-%m-%dT%H:%MZ}"
        if self.unread:
            query |= {"status": "unrateable", "reason": self.unread}
        else:
            query["cost"] = "no_rate"
        return f"/events?{urlencode(query)}"

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
    asked = {
        "tenant": tenant_id,
        "since": since,
        "unread": list(UNREAD),
        "not_measured": NOT_MEASURED.unknown,
    }
    with sql.cursor() as cursor:
        found = cursor.execute(GAPS, asked).fetchall()
    return [
        Gap(
            *(model, tool, kind, calls, last, customers),
            Reason(unread).label if unread else reason or "no rate",
            since,
            unread,
        )
        for model, tool, kind, calls, last, customers, unread, reason in found
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
    over: CostRate | None = None  # The tenant's own rate that counts instead.

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


def shown(
    tenant_id: uuid.UUID, listed: Sequence[CostRate], now: dt.datetime
) -> list[Shown]:
    """Return rates as the page shows them, each with what overrides it; one statement.

    The tenant's own rate of the same model, provider, unit and context counts before
    one of a weaker source wherever it holds: in every case that it does not narrow.
    """
    own: dict[tuple[str, ...], list[CostRate]] = {}
    for rate in CostRate.objects.filter(
        Q(valid_to=None) | Q(valid_to__gt=now),
        tenant=tenant_id,
        superseded_at=None,
        valid_from__lte=now,
        model__in={rate.model for rate in listed},
    ):
        own.setdefault(_subject(rate), []).append(rate)

    def over(rate: CostRate) -> CostRate | None:
        stronger = (
            other
            for other in own.get(_subject(rate), ())
            if SOURCES[other.source] < SOURCES[rate.source]
            and other.region in ("", rate.region)
            and other.hours in ("", rate.hours)
            and other.above_tokens in (0, rate.above_tokens)
        )
        return min(stronger, key=lambda other: SOURCES[other.source], default=None)

    found = [Shown(rate, now) for rate in listed]
    return [
        replace(row, over=over(row.rate)) if row.standing == "active" else row
        for row in found
    ]


def _subject(rate: CostRate) -> tuple[str, ...]:
    """Return what a rate is the rate of."""
    return rate.provider, rate.model, rate.unit, rate.context


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
