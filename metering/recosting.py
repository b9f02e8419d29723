"""Costs follow corrected rates: what changed is appended, and prices never move.

An event is costed again at the rates of its own time as they are known now; the
difference to the sum of its facts becomes a further fact. Doing it twice adds nothing.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from django.db import transaction

from aforo.core import fx
from aforo.lib import clock, sql
from aforo.lib.money import ZERO, plain
from billing import books, cost_changes
from catalog import costs
from catalog.cost_context import situation
from catalog.costs import CostBook
from metering import batch, costing, enrichment, rollups, sessions, writing
from metering.batch import Item
from metering.costing import Known

# Events of one transaction: the customer's rating waits for it.
BATCH = 500
START = uuid.UUID(int=0)

EVENTS = """
SELECT e.id FROM metering_usageevent e
WHERE e.customer_id = %b AND e.id > %b AND e.occurred_at >= %b
  AND (%b::timestamptz IS NULL OR e.occurred_at < %b)
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
ORDER BY e.id LIMIT %b
"""


def compare(
    items: Iterable[Item], known: enrichment.Known, *, rated_again: bool
) -> None:
    """Note on items costed before what has changed of their cost.

    A cost that is not known any more stays as it was. An event that is rated again
    gets a fact whenever it would else be unclear which cost it was priced with.
    """
    listed = list(items)
    before = costing.known([item.row.id for item in listed])
    for item in listed:
        item.replayed = True
        old = before.get(item.row.id)
        if old is None or item.cost.amount is None:
            continue
        facts = old.change_to(item.cost.amount, item.cost.currency)
        unclear = rated_again and (bool(facts) or old.fact_count > 1)
        if unclear or not old.is_known:
            facts.setdefault(item.cost.currency, ZERO)
        if facts:
            item.cost_facts = facts
            _in_plan_currency(item, old, known.tenants[item.row.tenant_id].rates)


def _in_plan_currency(item: Item, old: Known, rates: fx.Rates) -> None:
    """Note what the sums of an item change by; without an exchange rate nothing."""

    def converted(amount: Decimal, currency: str) -> Decimal | None:
        return rates.convert(
            amount,
            tenant_id=item.row.tenant_id,
            base=currency,
            quote=item.currency,
            at=item.row.occurred_at,
        )

    assert item.cost.amount is not None, "only what is known is compared"
    change = converted(item.cost.amount, item.cost.currency)
    if change is None:
        return
    for currency, amount in old.amounts.items():
        counted = converted(amount, currency)
        if counted is None:
            return
        change -= counted
    item.cost_found = not old.is_known
    item.cost_change = change


def concerns(item: Item, book: CostBook, names: frozenset[str]) -> bool:
    """Tell whether an item's cost depends on rates of one of the names; none: any."""
    if not names:
        return True
    properties = item.body.properties
    model = properties.get("model", "")
    own = {model, item.row.tool_name, item.tool, item.row.event_type}
    if model:
        own.add(book.sheet(model, situation(properties)).name)
    return not own.isdisjoint(names)


def judged(
    event_ids: Sequence[uuid.UUID],
    customers: Collection[uuid.UUID],
    names: frozenset[str],
    costs_as_in: CostBook | None = None,
) -> tuple[list[Item], enrichment.Known]:
    """Return events of customers with their cost as it is known now.

    Their currency is the one that they are rated in. `costs_as_in` are the rates of
    their one tenant to judge by in place of those that are known.
    """
    taken = batch.read(event_ids, customers)
    rows = taken.rows
    known = enrichment.of(rows, taken.stamps, clock.now())
    if costs_as_in is not None:
        # A copy: what is remembered of the tenant is everybody's.
        supposed = {t: replace(e, costs=costs_as_in) for t, e in known.tenants.items()}
        known = replace(known, tenants=supposed)
    keys = sessions.identify(rows)
    items = []
    for row in rows:
        item = batch.judge(row, known, keys.get((row.customer_id, row.session_key)))
        if concerns(item, known.tenants[row.tenant_id].costs, names):
            items.append(item)
    return items, known


def after(
    customer_id: uuid.UUID, params: Mapping[str, Any], last: uuid.UUID
) -> list[uuid.UUID]:
    """Return the next events of a customer inside a time, in the order stored."""
    since, until = span(params)
    with sql.cursor() as cursor:
        args = [customer_id, last, since, until, until, BATCH]
        return [row[0] for row in cursor.execute(EVENTS, args).fetchall()]


def span(params: Mapping[str, Any]) -> tuple[dt.datetime, dt.datetime | None]:
    """Return the time of a run's parameters."""
    until = params.get("until")
    return (
        dt.datetime.fromisoformat(params["since"]),
        dt.datetime.fromisoformat(until) if until else None,
    )


def recost(
    customer_id: uuid.UUID, event_ids: Sequence[uuid.UUID], names: frozenset[str]
) -> list[Item]:
    """Append what has changed of events' costs, in the caller's transaction.

    Locks the customer's books. Facts, hourly sums, sessions and totals move by the
    same amounts; entries and invoices are not touched. Returns what changed.
    """
    postings = books.lock([customer_id])
    items, known = judged(event_ids, [customer_id], names)
    rated = cost_changes.rated(customer_id, [item.row.id for item in items])
    for item in items:
        if found := rated.get(item.row.id):
            item.currency = found.currency
    compare(items, known, rated_again=False)
    changed = [item for item in items if item.cost_facts]
    if not changed:
        return []
    sessions.save_cost_changes(changed)
    rollups.save(changed, priced=False)
    cost_changes.add(
        customer_id,
        (
            (rated[item.row.id].key, item.cost_change, item.cost_found)
            for item in changed
            if item.row.id in rated and item.cost_change is not None
        ),
    )
    writing.save_cost_changes(changed, kind="recost")
    writing.announce_cost_changes(changed, {p.customer_id: p for p in postings})
    for posting in postings:
        posting.touch()
    books.write(postings)
    return changed


def step(
    params: Mapping[str, Any], customer_id: uuid.UUID, done: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Recost the next events of a customer; return what was done so far."""
    so_far = done or {"events": 0, "changed": 0, "found": 0, "changes": {}}
    last = uuid.UUID(so_far["after"]) if "after" in so_far else START
    event_ids = after(customer_id, params, last)
    changed = recost(customer_id, event_ids, frozenset(params.get("names", ())))
    changes = {k: Decimal(v) for k, v in so_far["changes"].items()}
    for item in changed:
        for currency, amount in (item.cost_facts or {}).items():
            changes[currency] = changes.get(currency, ZERO) + amount
    return {
        "events": so_far["events"] + len(event_ids),
        "changed": so_far["changed"] + len(changed),
        "found": so_far["found"] + sum(item.cost_found for item in changed),
        "changes": {k: plain(v) for k, v in changes.items()},
        "after": (event_ids[-1] if event_ids else last).hex,
        "done": len(event_ids) < BATCH,
    }


def summarise(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what was done for all customers together."""
    total: dict[str, Any] = {"events": 0, "changed": 0, "found": 0, "customers": 0}
    changes: dict[str, Decimal] = {}
    for row in rows:
        for name in ("events", "changed", "found"):
            total[name] += row.get(name, 0)
        total["customers"] += bool(row.get("changed"))
        for currency, amount in row.get("changes", {}).items():
            changes[currency] = changes.get(currency, ZERO) + Decimal(amount)
    return {**total, "changes": {k: plain(v) for k, v in changes.items()}}


# A page waits for a preview: it looks at all events, or at as many as this time lets.
PREVIEW_SECONDS = 4.0
PREVIEW_BATCH = 1_000
# Stored before an event, the newest first, and whether they are of the time.
STORED_BEFORE = """
SELECT e.id, e.customer_id, e.occurred_at >= %b
  AND (%b::timestamptz IS NULL OR e.occurred_at < %b)
  AND NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
FROM metering_usageevent e
WHERE e.tenant_id = %b AND e.id < %b ORDER BY e.id DESC LIMIT %b
"""
NEWEST = uuid.UUID(int=2**128 - 1)


def supposed_book(tenant_id: uuid.UUID, write: Callable[[], object]) -> CostBook:
    """Return a tenant's rates as they would be after `write`, which is taken back.

    What `write` locks is held no longer than the rates take to be read.
    """
    with transaction.atomic():
        write()
        book = costs.load([tenant_id])[tenant_id]
        transaction.set_rollback(True)
    return book


def preview(
    tenant_id: uuid.UUID, params: Mapping[str, Any], write: Callable[[], object]
) -> dict[str, Any]:
    """Return what recosting would change after `write`, which is taken back again.

    Counts every event of the time, the newest first. `is_cut` says that
    PREVIEW_SECONDS were over before the oldest: `looked_at` of them were then seen,
    and the figures are of those alone. Nothing stays locked while it counts.
    """
    end = time.monotonic() + PREVIEW_SECONDS
    names = frozenset(params.get("names", ()))
    book = supposed_book(tenant_id, write)
    counts = {"looked_at": 0, "events": 0, "changed": 0, "found": 0}
    changes: dict[str, Decimal] = {}
    customers: set[uuid.UUID] = set()
    last, is_cut = NEWEST, False
    while not is_cut:
        stored = _stored_before(tenant_id, params, last)
        found = {event: customer for event, customer, wanted in stored if wanted}
        items = _supposed(found, names, book)
        changed = [item for item in items if item.cost_facts]
        for item in changed:
            for currency, amount in (item.cost_facts or {}).items():
                changes[currency] = changes.get(currency, ZERO) + amount
        counts["looked_at"] += len(found)
        counts["events"] += len(items)
        counts["changed"] += len(changed)
        counts["found"] += sum(item.cost_found for item in changed)
        customers.update(item.row.customer_id for item in changed)
        if len(stored) < PREVIEW_BATCH:
            break
        last, is_cut = stored[-1][0], time.monotonic() > end
    more = {"customers": len(customers), "changes": changes, "is_cut": is_cut}
    return {**counts, **more}


def _supposed(
    found: Mapping[uuid.UUID, uuid.UUID], names: frozenset[str], book: CostBook
) -> list[Item]:
    """Return events, given with their customers, with what a book changes of them.

    A billing period that had to be made for one of them is taken back.
    """
    with transaction.atomic():
        items, known = judged(list(found), set(found.values()), names, book)
        compare(items, known, rated_again=False)
        transaction.set_rollback(True)
    return items


def _stored_before(
    tenant_id: uuid.UUID, params: Mapping[str, Any], last: uuid.UUID
) -> list[tuple[uuid.UUID, uuid.UUID, bool]]:
    """Return the next events of a preview, with whether they are of its time."""
    since, until = span(params)
    with sql.cursor() as cursor:
        args = [since, until, until, tenant_id, last, PREVIEW_BATCH]
        return cursor.execute(STORED_BEFORE, args).fetchall()
