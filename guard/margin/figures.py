"""What customers earned and cost in their period: read in few statements, exactly."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import msgspec

from aforo.core import fx
from aforo.lib import clock, sql
from aforo.lib.money import CONTEXT, ZERO
from billing import agent_totals, contract_revenue, recurring
from billing.agent_totals import Charges
from billing.contract_revenue import Used
from billing.models import BillingPeriod
from billing.recurring import Term
from guard.margin import rules
from guard.margin.rules import Figures, Ladder
from guard.models import Scope

# Terms change with the configuration only.
TERMS_MAX = 10_000

PERIODS = """
SELECT c.id, c.tenant_id, c.currency, b.version, b.config_version,
  p.id, p.start_at, p.end_at, p.timezone
FROM billing_customer c
JOIN billing_customerbooks b ON b.customer_id = c.id
JOIN billing_billingperiod p
  ON p.customer_id = c.id AND p.start_at <= %(now)s AND p.end_at > %(now)s
WHERE c.id = ANY(%(ids)s)
"""
TOTALS = """
SELECT customer_id, subscription_id, snapshot_id, currency, spend, cost,
  cost_unknown_count, state::text
FROM billing_usagetotal WHERE period_id = ANY(%(periods)s)
"""
AGENTS = """
SELECT customer_id, subscription_id, agent_id, currency, charges::text, cost,
  cost_unknown_count
FROM billing_agenttotal WHERE period_id = ANY(%(periods)s)
"""


class Subject(NamedTuple):
    """Whose margin it is."""

    scope: Scope
    id: uuid.UUID


class Standing(NamedTuple):
    """The figures of one subject, and the lines it is held to."""

    subject: Subject
    figures: Figures
    ladder: Ladder
    currency: str


class Total(NamedTuple):
    """A counter row of a contract."""

    subscription_id: uuid.UUID
    snapshot_id: uuid.UUID
    currency: str
    spend: Decimal
    cost: Decimal
    unknown_count: int
    state: str  # JSON.


class Agent(NamedTuple):
    """A counter row of an agent; without a contract it has the costs."""

    subscription_id: uuid.UUID | None
    agent_id: uuid.UUID | None
    currency: str
    charges: str  # JSON.
    cost: Decimal
    unknown_count: int


@dataclass(slots=True)
class Customer:
    """What is known of one customer's period under way."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    currency: str
    version: int
    config_version: int
    period: BillingPeriod
    terms: Sequence[Term] = ()
    totals: list[Total] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)

    @property
    def has_cost(self) -> bool:
        """Whether anything is known or asked of the period's costs."""
        return any(row.cost or row.unknown_count for row in self.agents)


_terms: dict[tuple[uuid.UUID, int], list[Term]] = {}


def read(customer_ids: Collection[uuid.UUID], now: dt.datetime) -> list[Customer]:
    """Return customers with a period under way; three statements for any number.

    One or two more for contracts that this process has not met as they are now.
    """
    with sql.cursor() as cursor:
        ask = {"ids": list(customer_ids), "now": now}
        found = {}
        for key, tenant, currency, version, config, *period in cursor.execute(
            PERIODS, ask
        ).fetchall():
            pk, start, end, zone = period
            row = BillingPeriod(
                id=pk, customer_id=key, start_at=start, end_at=end, timezone=zone
            )
            found[key] = Customer(key, tenant, currency, version, config, row)
        periods = {"periods": [one.period.pk for one in found.values()]}
        for customer, *columns in cursor.execute(TOTALS, periods).fetchall():
            found[customer].totals.append(Total(*columns))
        for customer, *columns in cursor.execute(AGENTS, periods).fetchall():
            found[customer].agents.append(Agent(*columns))
    _read_terms(list(found.values()))
    return list(found.values())


def _read_terms(customers: Sequence[Customer]) -> None:
    """Give customers what they agreed to; those that cost nothing are not judged."""
    costly = [one for one in customers if one.has_cost]
    missing = [one for one in costly if (one.id, one.config_version) not in _terms]
    if missing:
        if len(_terms) + len(missing) > TERMS_MAX:
            _terms.clear()
        read_now = recurring.terms_of([one.id for one in missing])
        for one in missing:
            _terms[one.id, one.config_version] = read_now[one.id]
    for one in costly:
        one.terms = _terms.get((one.id, one.config_version), ())


def standings(customer: Customer, now: dt.datetime) -> Iterator[Standing]:
    """Yield the margins of a customer, its contracts and its agents.

    Nobody without a contract in force is judged: no call of theirs is let through.
    """
    live = {
        term.subscription_id: term
        for term in customer.terms
        if term.start <= now and (term.end is None or term.end > now)
    }
    if not live:
        return
    ladders = {
        key: rules.ladder_of(
            term.priced.limits.get("margin"), term.own_limits.get("margin")
        )
        for key, term in live.items()
    }
    used = [Used(row.snapshot_id, row.spend, row.state) for row in customer.totals]
    revenue = contract_revenue.of_period(customer.period, customer.terms, used)
    costs: dict[uuid.UUID, Decimal] = defaultdict(Decimal)
    unknown: dict[uuid.UUID, int] = defaultdict(int)
    for row in customer.totals:
        costs[row.subscription_id] += row.cost
        unknown[row.subscription_id] += row.unknown_count
    for key, term in live.items():
        yield Standing(
            Subject(Scope.SUBSCRIPTION, key),
            Figures(revenue.get(key, ZERO), costs[key], unknown[key]),
            ladders[key],
            term.priced.currency,
        )
    currencies = {term.subscription_id: term.priced.currency for term in customer.terms}
    ladder = rules.mildest(ladders.values())
    yield from _together(customer, revenue, currencies, ladder, now)


def _together(
    customer: Customer,
    revenue: Mapping[uuid.UUID, Decimal],
    currencies: Mapping[uuid.UUID, str],
    ladder: Ladder,
    now: dt.datetime,
) -> Iterator[Standing]:
    """Yield the margins of the customer as a whole and of each of its agents."""
    money = _Converter(customer, now)
    whole = [money(amount, currencies[key]) for key, amount in revenue.items()]
    costs: dict[uuid.UUID | None, list[Decimal | None]] = defaultdict(list)
    unknown: dict[uuid.UUID | None, int] = defaultdict(int)
    charges: dict[uuid.UUID, dict[uuid.UUID | None, Charges]] = {}
    for subscription, agent, currency, charged, cost, count in customer.agents:
        if subscription is None:
            costs[agent].append(money(cost, currency))
            unknown[agent] += count
            continue
        own = msgspec.json.decode(charged)
        charges.setdefault(subscription, {})[agent] = {
            key: (Decimal(quantity), Decimal(amount))
            for key, (quantity, amount) in own.items()
        }
    earned: dict[uuid.UUID | None, list[Decimal | None]] = defaultdict(list)
    for subscription, by_agent in charges.items():
        currency = currencies.get(subscription, customer.currency)
        for agent, amount in agent_totals.revenues(by_agent).items():
            earned[agent].append(money(amount, currency))
    everything = _figures(
        whole, [c for own in costs.values() for c in own], sum(unknown.values())
    )
    subject = Subject(Scope.CUSTOMER, customer.id)
    yield Standing(subject, everything, ladder, customer.currency)
    usage = _sum([e for own in earned.values() for e in own])
    # Fees and the like are shared by what each agent cost.
    rest = everything.revenue - usage if usage is not None else ZERO
    for agent in {*earned, *costs} - {None}:
        assert agent is not None
        own = _figures(earned[agent], costs[agent], unknown[agent])
        if own.cogs and everything.cogs:
            part = CONTEXT.divide(CONTEXT.multiply(rest, own.cogs), everything.cogs)
            own = Figures(
                (own.revenue + part).quantize(Decimal(1).scaleb(-12), context=CONTEXT),
                own.cogs,
                own.cost_unknown_count,
                own.is_convertible and everything.is_convertible,
            )
        yield Standing(Subject(Scope.AGENT, agent), own, ladder, customer.currency)


class _Converter:
    """Brings amounts into a customer's currency; reads rates when one is needed."""

    def __init__(self, customer: Customer, now: dt.datetime) -> None:
        self.customer, self.now = customer, now
        self.rates: fx.Rates | None = None

    def __call__(self, amount: Decimal, currency: str) -> Decimal | None:
        """Return the amount in the customer's currency; None without a rate."""
        if currency == self.customer.currency or not amount:
            return amount
        if self.rates is None:
            self.rates = fx.Rates([self.customer.tenant_id])
        return self.rates.convert(
            amount,
            tenant_id=self.customer.tenant_id,
            base=currency,
            quote=self.customer.currency,
            at=self.now,
        )


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Return a sum; None where a part of it is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if len(known) == len(amounts) else None


def _figures(
    revenue: Sequence[Decimal | None], cogs: Sequence[Decimal | None], unknown: int
) -> Figures:
    """Return figures of parts; what cannot be converted makes them unknown."""
    earned, cost = _sum(revenue), _sum(cogs)
    return Figures(
        earned or ZERO, cost or ZERO, unknown, earned is not None and cost is not None
    )


def of_customers(
    customer_ids: Collection[uuid.UUID],
) -> Iterator[tuple[Customer, list[Standing]]]:
    """Yield customers with all their margins, as the record has them now."""
    now = clock.now()
    for customer in read(customer_ids, now):
        yield customer, list(standings(customer, now))
