"""Events: the tail with what became of each, and one event taken apart."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, Func, OuterRef, Q, QuerySet

from aforo.lib import ids
from aforo.lib.money import ZERO
from billing import contracts
from billing.models import (
    Invoice,
    LedgerBatch,
    LedgerEntry,
    SubscriptionSnapshot,
)
from catalog.cost_lines import CostLine
from catalog.describe import level_names
from catalog.plans import PricedPlan
from catalog.pricing import explain_step, unpack_steps
from guard.models import Decision
from metering.models import (
    CostFact,
    EventVoid,
    PendingEvents,
    Session,
    Unrateable,
    UsageEvent,
)
from portal.selectors.meters import unit_of
from portal.selectors.sessions import EFFECTS, with_effects

FAMILY_MAX = 100
# The list is in the order of arrival; such a delay shows there.
LATE = dt.timedelta(minutes=1)
MILLISECOND = dt.timedelta(milliseconds=1)


def _pending_ids() -> Any:
    """Return the ids of the events on the queue, as a subquery."""
    return PendingEvents.objects.annotate(
        queued=Func("event_ids", function="unnest")
    ).values("queued")


def table(status: str = "", reason: str = "") -> QuerySet[UsageEvent]:
    """Return events of a status: rated, pending, unrateable, or all of them."""
    rows = UsageEvent.objects.select_related("customer", "agent", "product")
    listed = Unrateable.objects.filter(event=OuterRef("pk"), resolved_at__isnull=True)
    if reason:
        listed = listed.filter(reason=reason)
    if status == "pending":
        return rows.filter(pk__in=_pending_ids())
    if status == "unrateable":
        return rows.filter(Exists(listed))
    if status == "void":
        return rows.filter(void__isnull=False)
    if status == "rated":
        effects = LedgerEntry.objects.filter(event_id=OuterRef("pk"), kind__in=EFFECTS)
        return rows.filter(Exists(effects), void__isnull=True)
    return rows


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the tail and what became of it."""

    event: Any  # UsageEvent with the annotations of with_effects.
    status: str  # rated, pending, unrateable, void
    unrateable: Unrateable | None
    void: EventVoid | None = None

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event.pk)

    @property
    def came_late(self) -> bool:
        """Whether it arrived so long after it happened that its place shows it."""
        late: bool = self.event.received_at - self.event.occurred_at > LATE
        return late

    @property
    def why_no_price(self) -> str:
        """Why the price is a dash."""
        if self.unrateable is not None:
            return self.unrateable.get_reason_display()
        return "voided before it had a price" if self.void else "not rated yet"

    @property
    def margin(self) -> Decimal | None:
        """Price less cost, when both are known in one currency."""
        event = self.event
        if event.net is None or event.cost is None:
            return None
        if event.currency != event.cost_currency:
            return None
        margin: Decimal = event.net - event.cost
        return margin


def rows(events: Sequence[UsageEvent]) -> list[Row]:
    """Return what became of events (annotated by with_effects); two statements."""
    voids = {v.event_id: v for v in EventVoid.objects.filter(event__in=events)}
    listed = Unrateable.objects.filter(event__in=[e.pk for e in events])
    reasons = {u.event_id: u for u in listed.filter(resolved_at__isnull=True)}
    return [
        Row(
            event,
            "void" if event.pk in voids else _status(event, reasons.get(event.pk)),
            reasons.get(event.pk),
            voids.get(event.pk),
        )
        for event in events
    ]


def state(event: Any) -> str:
    """Return what became of an event: rated, pending, unrateable or void.

    It has the annotations of with_effects, its listing and its void beside it.
    """
    if getattr(event, "void", None) is not None:
        return "void"
    listed = getattr(event, "unrateable", None)
    return _status(event, listed if listed and listed.resolved_at is None else None)


def _status(event: Any, unrateable: Unrateable | None) -> str:
    """Return what became of an event."""
    if unrateable is not None:
        return "unrateable"
    return "pending" if event.ledger_id is None else "rated"


@dataclass(frozen=True, slots=True)
class Charged:
    """One charge of one ledger entry, with its steps in words."""

    key: str
    name: str
    unit: str
    quantity: Decimal
    amount: Decimal
    steps: list[str]


@dataclass(frozen=True, slots=True)
class Posted:
    """One ledger entry of an event, with what it is made of and its proof."""

    entry: LedgerEntry
    charges: list[Charged]
    batch: LedgerBatch | None
    invoice: Invoice | None
    level: str  # The name of the spend level that priced it; empty without levels.

    @property
    def public_id(self) -> str:
        """The ledger entry's id as people see it."""
        return ids.public("led", self.entry.pk)


@dataclass(frozen=True, slots=True)
class Relative:
    """An event of the same piece of work."""

    event: Any
    is_this: bool
    is_child: bool  # Named its parent.

    @property
    def public_id(self) -> str:
        """The event's id as addresses have it."""
        return ids.public("evt", self.event.pk)


@dataclass(slots=True)
class Story:
    """One event with all that is known of it."""

    event: Any
    row: Row
    posted: list[Posted] = field(default_factory=list)
    plan: PricedPlan | None = None
    snapshot: SubscriptionSnapshot | None = None
    # The newest figure of its cost, with the sum of all; and all of them.
    fact: CostFact | None = None
    facts: list[CostFact] = field(default_factory=list)
    reported: Decimal | None = None  # By the provider itself.
    cost_lines: list[CostLine] = field(default_factory=list)
    session: Session | None = None
    decision: Decision | None = None
    product: Any = None  # Of the event, or of the contract that paid.
    family: list[Relative] = field(default_factory=list)
    family_is_cut: bool = False
    conflicts: list[Any] = field(default_factory=list)
    void: EventVoid | None = None
    # Oldest first, this one included, when it was amended or is an amendment.
    chain: list[Relative] = field(default_factory=list)

    @property
    def price(self) -> Decimal | None:
        """What the event costs the customer; None before it is rated."""
        if not self.posted:
            return None
        return sum((p.entry.amount for p in self.posted), ZERO)

    @property
    def currency(self) -> str:
        """The currency of the price."""
        if self.posted:
            return self.posted[0].entry.currency
        return str(self.event.customer.currency)


def story(event_id: uuid.UUID) -> Story | None:
    """Return one event with its trace, in a fixed number of statements."""
    found = with_effects(UsageEvent.objects.filter(pk=event_id))
    event = found.select_related(
        "customer", "agent__team", "team", "product", "credential"
    ).first()
    if event is None:
        return None
    told = Story(event=event, row=rows([event])[0], product=event.product)
    _postings(told)
    facts = CostFact.objects.filter(event=event).select_related("basis")
    told.facts = list(facts.order_by("id"))
    if told.facts:
        known = [fact for fact in told.facts if fact.amount is not None]
        told.reported = told.facts[0].reported
        told.fact = next((f for f in reversed(known) if f.basis_id), told.facts[0])
        told.fact = copy(told.fact)
        if known:
            told.fact.amount = sum(
                (f.amount or ZERO for f in known if f.currency == told.fact.currency),
                ZERO,
            )
        told.cost_lines = told.fact.lines
    if event.session_key:
        told.session = Session.objects.filter(
            customer=event.customer_id, key=event.session_key
        ).first()
    if event.request_id:
        told.decision = Decision.objects.filter(
            customer_id=event.customer_id, request_id=event.request_id
        ).first()
    if event.correlation_id:
        told.family = _family(event)
        told.family_is_cut = len(told.family) > FAMILY_MAX
        told.family = told.family[:FAMILY_MAX]
    told.conflicts = list(event.conflicts.all())
    told.void = told.row.void
    told.chain = _chain(event)
    return told


def _chain(event: UsageEvent) -> list[Relative]:
    """Return what the event replaced and what replaced it, oldest first."""
    chain = [event]
    while len(chain) < FAMILY_MAX:
        before = EventVoid.objects.filter(replaced_by=chain[0]).select_related("event")
        found = before.first()
        if found is None:
            break
        chain.insert(0, found.event)
    while len(chain) < FAMILY_MAX:
        after = EventVoid.objects.filter(event=chain[-1]).select_related("replaced_by")
        last = after.first()
        if last is None or last.replaced_by is None:
            break
        chain.append(last.replaced_by)
    if len(chain) == 1:
        return []
    return [Relative(one, one.pk == event.pk, one != chain[0]) for one in chain]


def _family(event: UsageEvent) -> list[Relative]:
    """Return the events of the same piece of work in time, one more than shown."""
    rows = UsageEvent.objects.filter(
        customer=event.customer_id, correlation_id=event.correlation_id
    )
    found = with_effects(rows).order_by("occurred_at", "id")
    return [
        Relative(e, e.pk == event.pk, bool(e.body.get("parent_id")))
        for e in found[: FAMILY_MAX + 1]
    ]


def _postings(told: Story) -> None:
    """Fill in the ledger entries, the plan that priced them, proof and invoice."""
    event = told.event
    own = Q(event_id=event.pk, kind__in=EFFECTS)
    # A void is one batch: its reversal names the entry, and leads to what goes with it.
    reversal = LedgerEntry.objects.filter(reverses=event.ledger_id).first()
    if reversal is not None:
        own |= Q(
            customer=event.customer_id, version=reversal.version, event_id=event.pk
        )
    entries = list(
        LedgerEntry.objects.filter(own)
        .select_related(
            "snapshot__plan_version", "subscription__product", "billing_period"
        )
        .order_by("id")
        if event.ledger_id
        else []
    )
    if not entries:
        return
    plans = contracts.plans_of(e.snapshot for e in entries)
    batches = {
        b.version: b
        for b in LedgerBatch.objects.filter(
            customer=event.customer_id, version__in=[e.version for e in entries]
        )
    }
    invoices = {
        (i.period_id, i.currency): i
        for i in Invoice.objects.filter(
            customer=event.customer_id,
            period__in=[e.billing_period_id for e in entries],
        )
    }
    for entry in entries:
        plan = plans.get(entry.snapshot_id)
        told.posted.append(
            Posted(
                entry,
                charged(entry, plan),
                batches.get(entry.version),
                invoices.get((entry.billing_period_id, entry.currency)),
                _level(entry, plan),
            )
        )
        told.plan, told.snapshot = plan, entry.snapshot
        told.product = entry.subscription.product


def _level(entry: LedgerEntry, plan: PricedPlan | None) -> str:
    """Return the name of the spend level that an entry was priced at."""
    names = level_names(plan.plan) if plan else {}
    return names.get(entry.spend_level or "", entry.spend_level or "")


def charged(entry: LedgerEntry, plan: PricedPlan | None) -> list[Charged]:
    """Return the charges of an entry with names and steps in words."""
    known = {c.key: c for c in plan.plan.charges} if plan else {}
    steps = entry.steps or [[] for _ in entry.charge_keys]
    result = []
    for key, quantity, amount, compact in zip(
        entry.charge_keys, entry.quantities, entry.amounts, steps, strict=True
    ):
        charge = known.get(key)
        unit = charge.unit if charge else ""
        words = [
            explain_step(step, entry.currency, unit=unit)
            for step in unpack_steps(compact, quantity, amount)
        ]
        result.append(
            Charged(
                key,
                charge.name if charge else key,
                unit_of(quantity, charge.unit) if charge else "",
                quantity,
                amount,
                words,
            )
        )
    return result


def reasons() -> list[tuple[str, str, int]]:
    """Return the open reasons for which events have no price: code, words, count."""
    labels = dict(Unrateable.Reason.choices)
    found = Unrateable.objects.filter(resolved_at__isnull=True).order_by()
    counts = found.values_list("reason").annotate(Count("pk")).order_by("-pk__count")
    return [(code, labels.get(code, code), count) for code, count in counts]
