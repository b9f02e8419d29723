"""Where the figure behind a decision comes from: the books, and what is in flight."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from urllib.parse import urlencode

from django.db.models import Sum
from django.urls import reverse

from aforo.lib import ids
from aforo.lib.money import ZERO
from billing.models import Customer, LedgerEntry, UsageTotal, Wallet
from guard import in_flight
from guard.engine.decision import Reason
from guard.models import Decision

MINUTE = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a figure, and what it is the sum of."""

    name: str
    amount: Decimal | None  # None: nobody knows now.
    url: str = ""
    link: str = ""


@dataclass(slots=True)
class Provenance:
    """What a spent figure is made of now, and where each part is read."""

    title: str
    parts: list[Part] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # Label and address.

    @property
    def total(self) -> Decimal | None:
        """The parts together; None where one is not known."""
        amounts = [part.amount for part in self.parts]
        if any(amount is None for amount in amounts):
            return None
        return sum((a for a in amounts if a is not None), ZERO)


def _events(
    customer: Customer, since: dt.datetime, until: dt.datetime, **more: str
) -> str:
    query = {
        "customer": customer.public_id,
        "since": since.isoformat(timespec="seconds"),
        "until": until.isoformat(timespec="seconds"),
        **more,
    }
    return f"{reverse('events')}?{urlencode(query)}"


def _of(decision: Decision) -> str:
    return decision.reason_code.split(".")[0]


def of_decision(decision: Decision, customer: Customer) -> Provenance | None:
    """Return what the counter behind a decision counts; a few statements.

    None for a decision that no counter made.
    """
    kind, at = _of(decision), decision.decided_at
    page = reverse("customer", args=[customer.public_id])
    agent = ids.public("agt", decision.agent_id) if decision.agent_id else ""
    if kind in ("requests", "tokens"):
        of_agent = {"agent": agent} if agent else {}
        return Provenance(
            "Calls of the 60 seconds before, whether or not they were served",
            links=[
                (
                    "Events of that minute",
                    _events(customer, at - MINUTE, at + MINUTE, **of_agent),
                )
            ],
        )
    if kind not in ("spend_cap", "quota", "wallet", "margin"):
        return None
    start = _window_start(decision, customer)
    found = Provenance("What the figure is made of, as the books have it now")
    upcoming = reverse("upcoming", args=[customer.public_id])
    if decision.reason_code == Reason.WALLET:
        found.parts = [*_wallet(customer, page), _held(customer, minus=True)]
    elif kind == "spend_cap":
        found.parts = [_rated(decision, customer, start, upcoming), _held(customer)]
    own = {"agent": agent} if agent and ".agent." in decision.reason_code else {}
    usage = {"customer": customer.public_id, "period": "month", **own}
    found.links = [
        ("Events behind it", _events(customer, start, at, **own)),
        ("Usage of the month", f"{reverse('usage')}?{urlencode(usage)}"),
        ("Invoice so far", upcoming),
    ]
    return found


def _window_start(decision: Decision, customer: Customer) -> dt.datetime:
    """Return since when the counter counts: its day, or the period at that time."""
    at = decision.decided_at
    if decision.reason_code.endswith(".day"):
        return at.replace(hour=0, minute=0, second=0, microsecond=0)
    period = customer.periods.filter(start_at__lte=at, end_at__gt=at).first()
    if period is not None:
        return period.start_at
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _rated(
    decision: Decision, customer: Customer, start: dt.datetime, upcoming: str
) -> Part:
    """Return what is rated of the scope since the counter's start."""
    _, scope, window = (*decision.reason_code.split("."), "", "")[:3]
    if scope == "agent" or window == "day":
        rows = LedgerEntry.objects.filter(
            customer=customer,
            currency=customer.currency,
            recorded_at__gte=start,
            pk__gte=ids.oldest_since(start),
        )
        if scope == "agent":
            own = decision.agent_id
            rows = rows.filter(agent_id=own) if own else rows.none()
        amount = rows.aggregate(total=Sum("amount"))["total"] or ZERO
        return Part("Rated, by the ledger", amount, upcoming, "Lines and their entries")
    totals = UsageTotal.objects.filter(
        customer=customer, currency=customer.currency, period__start_at=start
    )
    if scope == "subscription":
        own = ids.parse_public("sub", decision.inputs.get("subscription", ""))
        totals = totals.filter(subscription_id=own) if own else totals.none()
    amount = totals.aggregate(total=Sum("spend"))["total"] or ZERO
    return Part(
        "Rated usage, by the ledger", amount, upcoming, "Lines and their entries"
    )


def _held(customer: Customer, *, minus: bool = False) -> Part:
    """Return what calls in flight reserve; all of the customer's."""
    held = in_flight.of_customer(customer.tag)
    if held is None:
        return Part("Reserved by calls in flight", None)
    name = f"Reserved by {held.calls:,} call{'' if held.calls == 1 else 's'} in flight"
    return Part(name, -held.amount if minus else held.amount)


def _wallet(customer: Customer, page: str) -> list[Part]:
    """Return the balance of the customer's wallet, and what it may be overdrawn."""
    wallet = Wallet.objects.filter(
        customer=customer, currency=customer.currency
    ).first()
    if wallet is None:
        return [Part("Balance", ZERO)]
    found = [Part("Settled balance", wallet.balance, f"{page}?tab=wallet", "Entries")]
    if wallet.overdraft_limit:
        found.append(Part("Overdraft limit", wallet.overdraft_limit))
    return found
