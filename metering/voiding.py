"""Take an event back: it stays stored, but nothing is charged or counted for it.

Under the books' lock and in one transaction: the event's entry is reversed, one more
entry (kind reprice) brings every charge to the price of the usage without the event,
and counters, sessions, hourly sums, costs, wallets and the outbox follow. An invoice
that was issued is never changed: the entries then stand on the next one and name the
period that they correct.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from django.db import transaction

from aforo.core import audit
from aforo.core.models import User
from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.money import ZERO, plain
from billing import books, burndown, contracts
from billing.books import Posting
from billing.ledger import Entry
from billing.models import LedgerEntry
from metering import queue, uncounting, unpricing
from metering.models import EventVoid, Unrateable, UsageEvent

REASON_MAX = 300
Was = EventVoid.Was


@dataclass(frozen=True, slots=True)
class Voided:
    """What a void did, or had done before."""

    void: EventVoid
    is_new: bool
    entries: list[Entry] = field(default_factory=list)
    # What went back to wallets (positive) or was taken from them.
    returned: Decimal = ZERO


def void(
    event: UsageEvent,
    *,
    reason: str,
    actor: User | None = None,
    actor_label: str = "",
) -> Voided:
    """Void an event; one that is void already stays as it is.

    Raises AforoError 422 `reason_required`.
    """
    with transaction.atomic():
        postings = {p.customer_id: p for p in books.lock([event.customer_id])}
        return void_locked(
            event,
            postings[event.customer_id],
            reason=reason,
            actor=actor,
            actor_label=actor_label,
            write=True,
        )


def checked_reason(reason: str) -> str:
    """Return why somebody corrects the record; raises 422 `reason_required`."""
    clean = " ".join(reason.split())
    if not clean:
        detail = "say why: it is kept with the correction"
        raise AforoError("reason_required", 422, detail, field="reason")
    return clean[:REASON_MAX]


def void_locked(
    event: UsageEvent,
    posting: Posting,
    *,
    reason: str,
    actor: User | None,
    actor_label: str = "",
    replaced_by: UsageEvent | None = None,
    write: bool,
) -> Voided:
    """Void an event whose customer's books are locked.

    `write` ends the posting: wallets move and the books are written. Without it the
    caller does both, with what else it posts.
    """
    reason = checked_reason(reason)
    earlier = EventVoid.objects.filter(event=event).first()
    if earlier is not None:
        return Voided(earlier, is_new=False)
    was, entries, currency = _take_back(event, posting)
    amount = sum((entry.amount for entry in entries), ZERO)
    made = EventVoid.objects.create(
        tenant_id=event.tenant_id,
        event=event,
        customer_id=event.customer_id,
        replaced_by=replaced_by,
        was=was,
        reason=reason,
        actor_label=actor_label or (str(actor) if actor else "service key"),
        currency=currency,
        amount=amount,
    )
    returned = -_burn(event, posting, entries) if write else ZERO
    _tell(made, posting, actor)
    if write:
        books.write([posting])
    return Voided(made, is_new=True, entries=entries, returned=returned)


def _tell(made: EventVoid, posting: Posting, actor: User | None) -> None:
    """Put a void on the outbox and into the audit."""
    event, after = made.event, made.replaced_by
    posting.outbox(
        "corrections",
        {
            "kind": "amend" if after else "void",
            "id": event.id.hex,
            "event_id": event.event_id,
            "customer_id": event.customer_id.hex,
            "replaced_by": after.id.hex if after else None,
            "currency": made.currency,
            "amount": plain(made.amount),
            "reason": made.reason,
        },
    )
    if event.request_id and made.was == Was.PENDING:
        # Nobody will settle the request's hold any more.
        posting.settle(event.request_id)
    audit.record(
        tenant=event.tenant_id,
        action="event.amended" if after else "event.voided",
        target=event,
        actor=actor,
        actor_label=made.actor_label,
        changes={
            "charged": [None, f"{plain(made.amount)} {made.currency}"],
            "event": [event.event_id, after.event_id if after else "void"],
        },
        reason=made.reason,
    )


def _take_back(
    event: UsageEvent, posting: Posting
) -> tuple[EventVoid.Was, list[Entry], str]:
    """Undo what the event did; return where it stood, the entries and the currency."""
    entry = LedgerEntry.objects.filter(
        event_id=event.pk,
        kind__in=[LedgerEntry.Kind.USAGE, LedgerEntry.Kind.ADJUSTMENT],
    ).first()
    if entry is not None:
        account = contracts.load([(event.customer_id, event.tenant_id)])[
            event.customer_id
        ]
        entries = unpricing.take_back(event, entry, account, clock.now())
        posting.append(*entries)
        net = sum((one.amount for one in entries), ZERO)
        uncounting.take_back(event, entry=entry, net=net)
        return Was.RATED, entries, entry.currency
    currency = str(event.customer.currency)
    listed = Unrateable.objects.filter(event=event, resolved_at=None).first()
    if listed is not None:
        if listed.reason != Unrateable.Reason.QUARANTINED:
            # It was counted and costed when it came; only its price was missing.
            uncounting.take_back(event, entry=None, net=ZERO)
        Unrateable.objects.filter(pk=listed.pk).update(resolved_at=clock.now())
        posting.touch()
        return Was.UNRATEABLE, [], currency
    queue.drop_voided(event.customer_id, event.pk)
    posting.touch()
    return Was.PENDING, [], currency


def _burn(event: UsageEvent, posting: Posting, entries: list[Entry]) -> Decimal:
    """Let the wallet follow; return what it paid, negative: what it got back."""
    if not entries:
        return ZERO
    return burndown.burn(
        posting=posting,
        currency=entries[0].currency,
        amount=sum((entry.amount for entry in entries), ZERO),
        title=f"{event.tool_name or event.event_type} voided",
        billing_period_id=entries[0].billing_period_id,
    )


def trial(event: UsageEvent, *, reason: str = "trial") -> Voided:
    """Return what a void would do, by doing it and rolling it back."""
    with transaction.atomic():
        found = void(event, reason=reason)
        transaction.set_rollback(True)
    return found
