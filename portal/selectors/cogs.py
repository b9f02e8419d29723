"""What usage cost the seller: who and what moved it, what stands out, what is unknown.

Revenue here is rated usage; the recurring fees of whole months are added apart.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from django.db.models import F, Sum

from aforo.lib import ids
from aforo.lib.invariants import rows as sql_rows
from aforo.lib.money import ZERO
from billing.models import Customer
from metering.models import UsageRollup
from portal.selectors import analytics, figures
from portal.selectors.analytics import Choice, Row, Sums
from portal.selectors.figures import Span, change
from portal.ui import figures as words

# A margin below it is named; the guard's first level begins there too.
FLOOR = Decimal("0.20")
MOVERS_MAX = 10
# The rarest hundredth of fewer calls than these says nothing.
ANOMALY_CALLS = 100
ANOMALIES_MAX = 10
# A change smaller than this explains nothing.
WORTH_SAYING = Decimal("0.02")


def fees(choice: Choice, span: Span) -> dict[uuid.UUID, Decimal]:
    """Return the recurring amounts in force at the end of a span by customer.

    Nothing when the filters name more than a customer: fees are no one agent's or
    model's.
    """
    if set(choice.filters) - {"customer"}:
        return {}
    rows = figures.fees(span.last_moment).filter(currency=choice.currency)
    if text := choice.filters.get("customer"):
        rows = rows.filter(customer=ids.parse_public("cus", text))
    grouped = rows.order_by().values_list("customer_id").annotate(Sum("recurring"))
    return {key: amount for key, amount in grouped if amount}


Fees = tuple[dict[uuid.UUID, Decimal], dict[uuid.UUID, Decimal]]


def with_fees(name: str, rows: Sequence[Row], choice: Choice, paid: Fees) -> list[Row]:
    """Return the rows with the fees: each customer's own, or a row for all of them.

    `paid` are the fees of the span and of the one before.
    """
    now, before = paid
    if name != "customer":
        of_now, of_before = (
            Sums(choice.currency, revenue=sum(part.values(), ZERO)) for part in paid
        )
        if not of_now.revenue and not of_before.revenue:
            return list(rows)
        note = "of whole months"
        return [*rows, Row(name, "", "Recurring fees", note, of_now, of_before)]
    known = {row.value: row for row in rows}
    for customer in Customer.objects.filter(pk__in={*now, *before}):
        empty = Sums(choice.currency)
        row = known.get(customer.public_id) or Row(
            name,
            customer.public_id,
            customer.name,
            customer.segment or customer.external_id,
            empty,
            empty,
            f"/customers/{customer.public_id}",
        )
        known[row.value] = replace(
            row,
            now=_paid(row.now, now.get(customer.pk, ZERO)),
            before=_paid(row.before, before.get(customer.pk, ZERO)),
        )
    return sorted(known.values(), key=lambda r: (-r.now.cost, -r.now.revenue, r.label))


def _paid(sums: Sums, fee: Decimal) -> Sums:
    """Return the sums with a fee among the revenue."""
    return replace(sums, revenue=sums.revenue + fee)


def _relative(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    """Return a relative change that is worth saying, or None."""
    found = change(now, before)
    return found if found is not None and abs(found) >= WORTH_SAYING else None


def what_changed(row: Row) -> str:
    """Return in words what moved a row's cost, the strongest cause first."""
    now, before = row.now, row.before
    if not before.events:
        return f"new: {now.events:,} calls" if now.events else "nothing"
    if not now.events:
        return f"no calls any more, {before.events:,} before"
    causes = {
        "calls": _relative(Decimal(now.events), Decimal(before.events)),
        "cost per call": _relative(now.cost_per_call, before.cost_per_call),
        "tokens per call": _relative(
            Decimal(now.tokens) / now.events, Decimal(before.tokens) / before.events
        ),
        "failed calls": _relative(
            Decimal(now.errors) / now.events, Decimal(before.errors) / before.events
        ),
    }
    said = sorted(
        ((name, ratio) for name, ratio in causes.items() if ratio is not None),
        key=lambda pair: -abs(pair[1]),
    )
    if not said:
        return "hardly anything"
    return ", ".join(
        f"{name} {'▲' if ratio > 0 else '▼'} {_size(abs(ratio))}"
        for name, ratio in said[:3]
    )


def _size(ratio: Decimal) -> str:
    """Return how large a change is; above tenfold the figure says nothing more."""
    return "over 10 times" if ratio > 10 else words.percent_text(ratio, 0)


def movers(rows: Iterable[Row]) -> list[Row]:
    """Return the rows whose cost moved most, in either direction."""
    moved = [row for row in rows if row.now.cost != row.before.cost]
    moved.sort(key=lambda r: (-abs(r.now.cost - r.before.cost), r.label))
    return moved[:MOVERS_MAX]


def below(rows: Iterable[Row], floor: Decimal) -> list[Row]:
    """Return the rows that earn less than the floor, the dearest loss first.

    A row without revenue is below every floor when it costs anything.
    """
    found = []
    for row in rows:
        ratio = row.now.figures.margin_ratio
        nothing_earned = not row.now.revenue and row.now.cost > 0
        if nothing_earned or (ratio is not None and ratio < floor):
            found.append(row)
    return sorted(found, key=lambda r: (r.now.revenue - r.now.cost, r.label))


def unknown(choice: Choice) -> list[dict[str, Any]]:
    """Return what lacks a cost rate in the span, the most frequent first."""
    rows = UsageRollup.objects.filter(choice.where(choice.span))
    grouped = rows.order_by().values("model", "tool_name", "event_type")
    counted = grouped.annotate(events=Sum(F("cost_unknown_count"))).filter(events__gt=0)
    return list(counted.order_by("-events", "model", "tool_name")[:20])


@dataclass(frozen=True, slots=True)
class Vendor:
    """One model's own figures and what its provider says of the same calls."""

    provider: str
    model: str
    currency: str
    calls: int
    ours: Decimal
    reported: Decimal

    @property
    def gap(self) -> Decimal:
        """What the provider says more than we do."""
        return self.reported - self.ours

    @property
    def gap_ratio(self) -> Decimal | None:
        """The gap over our figure."""
        return change(self.reported, self.ours)


EVENT_COLUMNS = {
    "customer": "e.customer_id",
    "product": "e.product_id",
    "team": "e.team_id",
    "agent": "e.agent_id",
    "model": "f.model",
    "provider": "COALESCE(NULLIF(e.body->'properties'->>'provider', ''), f.provider)",
    "tool": "e.tool_name",
    "type": "e.event_type",
}
FACTS = """
FROM metering_costfact f JOIN metering_usageevent e ON e.id = f.event_id
WHERE f.kind = 'original' AND f.occurred_at >= %(since)s AND f.occurred_at < %(until)s
"""


def _facts(choice: Choice) -> tuple[str, dict[str, Any]]:
    """Return the statement's part that chooses cost facts, and its parameters."""
    found = FACTS
    parameters: dict[str, Any] = {
        "since": choice.span.start,
        "until": choice.span.last_hour_end,
    }
    for name, text in choice.filters.items():
        column = EVENT_COLUMNS[name]
        kind = analytics.DIMENSIONS[name].of
        if text == analytics.NONE:
            found += f" AND {column} IS NULL" if kind else f" AND {column} = ''"
            continue
        found += f" AND {column} = %({name})s"
        prefix = kind.public_prefix if kind else ""  # type: ignore[attr-defined]
        parameters[name] = ids.parse_public(prefix, text) if kind else text
    return found, parameters


def reported(choice: Choice) -> list[Vendor]:
    """Return what providers reported of calls, beside our cost of the same calls."""
    facts, parameters = _facts(choice)
    statement = (
        "SELECT f.provider, f.model, f.currency, count(*), sum(COALESCE(f.amount, 0)),"
        f" sum(f.reported) {facts} AND f.reported IS NOT NULL"
        " GROUP BY 1, 2, 3 ORDER BY abs(sum(f.reported) - sum(f.amount)) DESC LIMIT 50"
    )
    return [Vendor(*row) for row in sql_rows(statement, **parameters)]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One call whose cost is among the dearest hundredth of its kind."""

    event_id: uuid.UUID
    occurred_at: Any
    kind: str  # The model, the tool or the event type.
    currency: str
    cost: Decimal
    usual: Decimal  # The median of its kind.
    p99: Decimal
    customer: str
    agent: str

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event_id)

    @property
    def times(self) -> Decimal | None:
        """How often the usual cost it is."""
        return (self.cost / self.usual).quantize(Decimal("0.1")) if self.usual else None


def anomalies(choice: Choice) -> list[Anomaly]:
    """Return the calls that cost at least the p99 of their kind, the oddest first.

    A kind is a model, or a tool or event type where there is none. Kinds with few
    calls are left out, and those whose dearest calls cost what the usual ones do.
    """
    facts, parameters = _facts(choice)
    what = "COALESCE(NULLIF(f.model, ''), NULLIF(e.tool_name, ''), e.event_type)"
    statement = f"""
    WITH facts AS (
      SELECT f.event_id, f.occurred_at, {what} AS what, f.currency, f.amount,
        e.customer_id, e.agent_id {facts} AND f.amount IS NOT NULL),
    usual AS (
      SELECT what, currency, percentile_disc(0.5) WITHIN GROUP (ORDER BY amount) AS mid,
        percentile_disc(0.99) WITHIN GROUP (ORDER BY amount) AS p99
      FROM facts GROUP BY 1, 2 HAVING count(*) >= %(calls)s)
    SELECT f.event_id, f.occurred_at, f.what, f.currency, f.amount, u.mid, u.p99,
      c.name, COALESCE(a.name, '')
    FROM facts f JOIN usual u USING (what, currency)
    JOIN billing_customer c ON c.id = f.customer_id
    LEFT JOIN billing_agent a ON a.id = f.agent_id
    WHERE f.amount >= u.p99 AND f.amount > u.mid
    ORDER BY f.amount / NULLIF(u.mid, 0) DESC NULLS FIRST, f.event_id LIMIT %(most)s
    """  # noqa: S608 - only constants of this module
    found = sql_rows(statement, calls=ANOMALY_CALLS, most=ANOMALIES_MAX, **parameters)
    return [Anomaly(*row) for row in found]
