"""Events put right: the wrong one is void, the right one stands in its place."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec
from django.db import transaction
from django.db.models import Sum

from aforo.core.models import User
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO
from billing import books
from billing.ledger import Entry
from billing.models import Wallet
from metering import implicit, pipeline, voiding
from metering.batch import Item
from metering.identity import Event
from metering.models import EventVoid, UsageEvent

CHAIN_MAX = 50


@dataclass(frozen=True, slots=True)
class Amended:
    """The void of the wrong event, and the right one as it was rated."""

    void: EventVoid
    event: UsageEvent
    item: Item
    # What both add to the books of their customers: the void's entries first.
    entries: Sequence[Entry] = ()


def named(raw: Mapping[str, Any], event: UsageEvent) -> dict[str, Any]:
    """Return the corrected body with an id of its own.

    A body without an id, or with that of the event that it corrects, gets the first
    one's with the number of the correction: `call-7~2`.
    """
    member = "eventId" if "eventType" in raw else "event_id"
    if raw.get(member) not in (None, "", shown_id(event)):
        return dict(raw)
    depth = 2
    first = event
    while depth <= CHAIN_MAX:
        earlier = EventVoid.objects.filter(replaced_by=first).first()
        if earlier is None:
            break
        first, depth = earlier.event, depth + 1
    return {**raw, member: f"{shown_id(first)}~{depth}"}


def shown_id(event: UsageEvent) -> str:
    """Return the id that the event's sender knows: without its credential."""
    head, colon, tail = event.event_id.partition(":")
    return tail if colon and head.startswith("crd_") else event.event_id


def amend(
    old: UsageEvent,
    new: Event,
    *,
    reason: str,
    actor: User | None = None,
    actor_label: str = "",
) -> Amended:
    """Void an event and rate its correction, in one transaction.

    Raises AforoError: 409 `already_voided`, 422 `event_conflict` when the new id is
    taken, 422 `reason_required`.
    """
    with transaction.atomic():
        wanted = {old.customer_id, new.customer_id}
        postings = {p.customer_id: p for p in books.lock(wanted)}
        if EventVoid.objects.filter(event=old).exists():
            detail = "this event is void: amend what replaced it, or send a new one"
            raise AforoError("already_voided", 409, detail)
        taken = UsageEvent.objects.filter(
            tenant_id=old.tenant_id, event_id=new.event_id
        ).exists()
        if taken:
            detail = "this event id was used before; leave it out to get one"
            raise AforoError("event_conflict", 422, detail, field="event_id")
        event = _store(old, new)
        done = voiding.void_locked(
            old,
            postings[old.customer_id],
            reason=reason,
            actor=actor,
            actor_label=actor_label,
            replaced_by=event,
            write=False,
        )
        # It moves the wallets by what both events come to, and writes the books.
        (item,) = pipeline.process(postings, [event.pk])
        entries = [entry for key in sorted(postings) for entry in postings[key].entries]
    return Amended(done.void, event, item, entries)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What an amendment does to the money, done or only tried."""

    done: Amended
    # What wallets get back (positive) or pay, by currency; those that do not move lack.
    wallets: dict[str, Decimal]
    is_kept: bool

    @property
    def digest(self) -> str:
        """What tells this effect from any other: of the new event, and of money."""
        item, void = self.done.item, self.done.void
        event = self.done.event
        parts = {
            "event": [event.event_type, event.tool_name, event.occurred_at],
            "body": event.body,
            "money": [void.amount, item.amount, item.currency, item.refusal],
            "cost": [item.cost.amount, item.cost.currency],
            "entries": [
                [e.kind, e.currency, e.amount, e.billing_period_id]
                for e in self.done.entries
            ],
            "wallets": self.wallets,
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def weigh(
    old: UsageEvent, new: Event, *, reason: str, actor: User | None, seen: str = ""
) -> Weighed:
    """Amend, and keep it only where its effect is the one that somebody has `seen`.

    `seen` is the digest of an effect; with any other all of it is rolled back and the
    effect is what it would be now. Raises AforoError as amend().
    """
    with transaction.atomic():
        books.lock({old.customer_id, new.customer_id})
        before = _balances(old, new)
        done = amend(old, new, reason=reason, actor=actor)
        moved = {
            currency: balance - before.get(currency, ZERO)
            for currency, balance in _balances(old, new).items()
            if balance != before.get(currency, ZERO)
        }
        found = Weighed(done, moved, is_kept=False)
        is_kept = found.digest == seen
        if not is_kept:
            transaction.set_rollback(True)
    return replace(found, is_kept=is_kept)


def _balances(*events: UsageEvent | Event) -> dict[str, Decimal]:
    """Return what is in the wallets of the customers of events, by currency."""
    rows = Wallet.objects.filter(customer__in={event.customer_id for event in events})
    summed = rows.order_by().values_list("currency").annotate(Sum("balance"))
    return dict(summed)


def _session_key(old: UsageEvent, new: Event) -> str:
    """Return the correction's session: where it names none, that of the wrong event."""
    kept = old.session_key if old.session_key.startswith(implicit.PREFIX) else ""
    same = old.credential_id == new.credential_id and old.product_id == new.product_id
    return new.session_key or (kept if new.implicit and same else "")


def as_row(tenant_id: uuid.UUID, new: Event) -> UsageEvent:
    """Return an event as a row that is not stored yet."""
    return UsageEvent(
        id=new.id,
        tenant_id=tenant_id,
        event_id=new.event_id,
        body_hash=new.body_hash,
        customer_id=new.customer_id,
        credential_id=new.credential_id,
        agent_id=new.agent_id,
        team_id=new.team_id,
        product_id=new.product_id,
        event_type=new.event_type,
        tool_name=new.tool_name,
        status=new.status,
        request_id=new.request_id,
        correlation_id=new.correlation_id,
        session_key=new.session_key,
        occurred_at=new.occurred_at,
        received_at=new.received_at,
        flags=list(new.flags),
        body=msgspec.json.decode(new.body),
    )


def _store(old: UsageEvent, new: Event) -> UsageEvent:
    """Store the correction; it never waits on the queue."""
    row = as_row(old.tenant_id, new)
    row.session_key = _session_key(old, new)
    row.flags.append("correction")
    row.save(force_insert=True)
    return row
