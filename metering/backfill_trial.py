"""What old usage would do to the books: done for real, and rolled back."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import transaction

from aforo.lib import ids
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO, plain
from billing import books
from billing.ledger import Entry
from billing.models import BillingPeriod, Customer
from metering import amending, answers, backfilling, pipeline
from metering.background import background
from metering.batch import Item
from metering.directory import Caller
from metering.identity import Event
from metering.ingest import Judged
from metering.models import UsageEvent
from metering.store import Stored


class Verdicts(NamedTuple):
    """What would become of the lines: new events, and the rest as counts and faults."""

    events: list[tuple[int, Event]]
    counts: dict[str, int]  # accepted, duplicate, ignored, rejected
    faults: list[list[Any]]  # [line, code, detail]


def judge(caller: Caller, lines: Sequence[tuple[int, Any]]) -> Verdicts:
    """Return what would become of events, as the door would answer them.

    An id that comes twice in the file is taken once, as at the door.
    """
    counts = dict.fromkeys(("accepted", "duplicate", "ignored", "rejected"), 0)
    found = Verdicts([], counts, [])
    judged: list[Judged] = background.run(
        backfilling.judge(caller, [raw for _, raw in lines])
    )
    events = [item for item in judged if isinstance(item, Event)]
    held = _held(caller.tenant_id, events)
    for (line, _), item in zip(lines, judged, strict=True):
        verdict: Any = item
        if isinstance(item, Event):
            first = held.setdefault(item.event_id, _as_stored(item))
            if first.id == item.id:
                found.events.append((line, item))
            verdict = answers.taken(item, first)
        if isinstance(verdict, AforoError):
            counts["rejected"] += 1
            found.faults.append([line, verdict.code, said(verdict)])
        else:
            counts[verdict["status"]] += 1
    return found


def said(error: AforoError) -> str:
    """Return why a line is refused, with the field at fault."""
    named = not error.field or error.detail.startswith(error.field)
    return error.detail if named else f"{error.field}: {error.detail}"


def _as_stored(event: Event) -> Stored:
    """Return what the table would hold of an event."""
    return Stored(event.id, event.body_hash, event.received_at, event.flags)


def _held(tenant_id: uuid.UUID, events: Iterable[Event]) -> dict[str, Stored]:
    """Return what the table holds under the ids of events."""
    rows = UsageEvent.objects.filter(
        tenant_id=tenant_id, event_id__in=[event.event_id for event in events]
    )
    columns = ("event_id", "id", "body_hash", "received_at", "flags")
    return {
        event_id: Stored(key, bytes(digest), at, flags)
        for event_id, key, digest, at, flags in rows.values_list(*columns)
    }


def effects(
    tenant_id: uuid.UUID, customer_id: uuid.UUID, events: Sequence[tuple[int, Event]]
) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return what events of one customer would add, by period; and what has no price.

    All of them are stored and rated in one transaction that is rolled back; the
    customer's books are locked meanwhile.
    """
    lines = {event.id: line for line, event in events}
    with transaction.atomic():
        postings = {p.customer_id: p for p in books.lock([customer_id])}
        rows = [amending.as_row(tenant_id, event) for _, event in events]
        UsageEvent.objects.bulk_create(rows, batch_size=1_000)
        items = pipeline.process(postings, [row.pk for row in rows])
        made = _by_period(customer_id, items, postings[customer_id].entries)
        transaction.set_rollback(True)
    return made, _unpriced(items, lines)


def _unpriced(items: Iterable[Item], lines: dict[uuid.UUID, int]) -> list[list[Any]]:
    """Return the lines that would be stored without a price, and why."""
    return [
        [lines[item.row.id], item.refusal[0], item.refusal[1]]
        for item in items
        if item.refusal is not None
    ]


def _by_period(
    customer_id: uuid.UUID, items: Sequence[Item], entries: Sequence[Entry]
) -> list[dict[str, Any]]:
    """Return what would be charged and what it cost, by period and currency."""
    amounts: dict[tuple[uuid.UUID, uuid.UUID, str], Decimal] = defaultdict(Decimal)
    where: dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID, str]] = {}
    for entry in entries:
        key = (entry.usage_period_id, entry.billing_period_id, entry.currency)
        amounts[key] += entry.amount
        if entry.event_id is not None:
            where.setdefault(entry.event_id, key)
    counts: dict[Any, int] = defaultdict(int)
    costs: dict[Any, Decimal] = defaultdict(Decimal)
    for item in items:
        if (at := where.get(item.row.id)) is not None:
            counts[at] += 1
            costs[at] += item.cost_amount or ZERO
    wanted = {key for usage, billing, _ in amounts for key in (usage, billing)}
    periods = BillingPeriod.objects.in_bulk(wanted)
    name = Customer.objects.values_list("name", flat=True).get(pk=customer_id)
    made = []
    for key, amount in amounts.items():
        used, billed = periods[key[0]], periods[key[1]]
        made.append(
            {
                "customer_id": ids.public("cus", customer_id),
                "customer": name,
                "currency": key[2],
                "from": used.start_at.isoformat(),
                "until": used.end_at.isoformat(),
                "timezone": used.timezone,
                "is_adjustment": used.pk != billed.pk,
                "billed_from": billed.start_at.isoformat(),
                "billed_until": billed.end_at.isoformat(),
                "events": counts[key],
                "amount": plain(amount),
                "cost": plain(costs[key]),
            }
        )
    return sorted(made, key=lambda row: (row["from"], row["currency"]))
