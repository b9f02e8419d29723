"""What the demo put into the books, beside what its files say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from aforo.core import fx
from aforo.core.models import Tenant
from aforo.demo import files
from aforo.demo.files import Tokens
from aforo.demo.replay import prefix_of
from aforo.demo.traffic import STREAM_OF
from aforo.lib import clock, sql
from aforo.lib.money import ZERO, display
from billing.models import Invoice

# What was stored of one stream, counted only where it is in the books too.
STREAM = """
SELECT count(*) FILTER (WHERE e.event_type = 'llm.completion'),
  COALESCE(sum((m->>'input_tokens')::bigint
    - COALESCE((m->>'cache_read_tokens')::bigint, 0)), 0),
  COALESCE(sum((m->>'cache_read_tokens')::bigint), 0),
  COALESCE(sum((m->>'output_tokens')::bigint), 0),
  count(*) FILTER (WHERE e.event_type = 'mcp.tool_invoked')
FROM metering_usageevent e, LATERAL (SELECT e.body->'measurements' AS m) AS b
WHERE e.tenant_id = %b AND starts_with(e.event_id, %b)
  AND EXISTS (SELECT FROM billing_ledgerentry l WHERE l.event_id = e.id)
"""
SUMS = """
SELECT (SELECT count(*) FROM metering_usageevent WHERE tenant_id = %(tenant)s),
  (SELECT count(*) FROM metering_unrateable
   WHERE tenant_id = %(tenant)s AND resolved_at IS NULL),
  (SELECT COALESCE(sum(amount), 0) FROM metering_costfact
   WHERE tenant_id = %(tenant)s),
  (SELECT count(*) FROM metering_costfact
   WHERE tenant_id = %(tenant)s AND amount IS NULL)
"""
REVENUE = """
SELECT currency, COALESCE(sum(amount) FILTER (WHERE event_id IS NOT NULL), 0),
  COALESCE(sum(amount) FILTER (WHERE event_id IS NULL), 0)
FROM billing_ledgerentry WHERE tenant_id = %b GROUP BY currency
ORDER BY currency <> 'USD', currency
"""
# What the costs of the demo are in.
DOLLARS = "USD"


@dataclass(frozen=True, slots=True)
class Revenue:
    """What contracts in one currency are billed."""

    currency: str
    usage: Decimal  # Rated usage.
    fees: Decimal  # What is due without usage, and roundings.
    # All of it at the tenant's rate of exchange; None when there is no rate.
    in_dollars: Decimal | None


@dataclass(frozen=True, slots=True)
class Sums:
    """The books of a tenant in a few figures; cost is in dollars."""

    events: int
    unrateable: int
    cost: Decimal
    cost_unknown: int  # Events whose cost is not known.
    revenues: Sequence[Revenue]  # One a currency.

    @property
    def revenue(self) -> Decimal:
        """Usage and fees of every currency, in dollars."""
        return sum((found.in_dollars or ZERO for found in self.revenues), ZERO)

    @property
    def margin(self) -> Decimal:
        """What is left of the revenue."""
        return self.revenue - self.cost


def stored(tenant: Tenant, file: str) -> Tokens:
    """Return what of a file is rated: the history, without live laps."""
    with sql.cursor() as cursor:
        row = cursor.execute(
            STREAM, [tenant.pk, f"{prefix_of(tenant)}:{STREAM_OF[file]}:"]
        ).fetchone()
    assert row is not None, "sums have a row"
    return Tokens(*map(int, row))


def sums(tenant: Tenant) -> Sums:
    """Return the books in a few figures."""
    with sql.cursor() as cursor:
        row = cursor.execute(SUMS, {"tenant": tenant.pk}).fetchone()
        rows = cursor.execute(REVENUE, [tenant.pk]).fetchall()
    assert row is not None, "sums have a row"
    rates, now = fx.Rates([tenant.pk]), clock.now()
    revenues = []
    for currency, usage, fees in rows:
        converted = rates.convert(
            usage + fees, tenant_id=tenant.pk, base=currency, quote=DOLLARS, at=now
        )
        revenues.append(Revenue(currency, usage, fees, converted))
    events, unrateable, cost, unknown = row
    return Sums(events, unrateable, cost, unknown, revenues)


def lines(tenant: Tenant) -> Iterator[str]:
    """Return the report, line by line."""
    yield ""
    yield (
        f"  {'rated':<26}{'calls':>8}{'tools':>7}"
        f"{'input':>14}{'from cache':>14}{'output':>12}"
    )
    for file in files.FILES:
        yield _file_line(file, stored(tenant, file), files.totals(file))
    found = sums(tenant)
    yield ""
    yield f"  {'events':<14}{found.events:>16,}"
    if found.unrateable:
        yield f"  {'without price':<14}{found.unrateable:>16,}"
    share = found.margin * 100 / found.revenue if found.revenue else Decimal(0)
    for row in found.revenues:
        code = row.currency
        label = "revenue" if code == DOLLARS else f"revenue, {code}"
        note = f"usage {display(row.usage, code)}, fees {display(row.fees, code)}"
        if row.in_dollars is None:
            note += "; not in the margin, for want of a rate of exchange"
        elif code != DOLLARS:
            note += f"; {display(row.in_dollars, DOLLARS)}"
        yield f"  {label:<14}{display(row.usage + row.fees, code):>16}   {note}"
    unknown = f"{found.cost_unknown:,} events of unknown cost"
    for label, amount, note in (
        ("COGS", found.cost, unknown if found.cost_unknown else ""),
        ("margin", found.margin, f"{share:.1f} %"),
    ):
        yield f"  {label:<14}{display(amount, DOLLARS):>16}   {note}".rstrip()
    issued = Invoice.objects.filter(tenant=tenant, state=Invoice.State.FINALISED)
    yield f"  {'invoices':<14}{issued.count():>16,}   issued"


def _file_line(file: str, got: Tokens, wanted: Tokens) -> str:
    """Return a file's figures, with a mark when they are those of the whole file."""
    mark = "✓" if got == wanted else "part of it"
    return (
        f"  {file:<26}{got.requests:>8,}{got.tool_calls:>7,}{got.input_tokens:>14,}"
        f"{got.cache_read_tokens:>14,}{got.output_tokens:>12,} {mark}"
    )


def answers(asked: Counter[str]) -> str:
    """Return the guard's answers in one line."""
    parts = [f"{count:,} {code}" for code, count in asked.most_common()]
    return "  guard     " + (", ".join(parts) or "not asked")
