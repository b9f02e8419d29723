"""What outcomes real events make: matched, or not, and what is missing then.

The rule is the one that rating asks (catalog.pricing.outcomes), over stored events, so
a draft can be tried on the traffic of the last 24 hours before anybody pays by it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from aforo.lib import clock
from aforo.lib.invariants import rows
from aforo.lib.money import ZERO
from billing.models import Subscription
from catalog.models import PlanVersion, Product
from catalog.pricing import (
    Charge,
    Compound,
    Grouping,
    Pieces,
    Plan,
    PlanError,
    parse_plan,
)
from catalog.pricing.outcomes import (
    Standing,
    completed_at,
    no_pieces,
    says,
    standing,
    with_event,
)
from catalog.units import span_words
from metering import rated
from metering.models import UsageEvent
from portal.selectors.figures import Span
from portal.selectors.groups import (
    COLUMNS,
    COUNTED,
    LEDGER,
    GroupKey,
    Seen,
    Work,
    read,
    whole,
)

# What a page reads while somebody waits.
RECENT_MAX = 20_000
MONTH_MAX = 50_000
SHOWN_MAX = 200
DAY = dt.timedelta(days=1)

RECENT = f"""
{COLUMNS}
FROM (SELECT * FROM metering_usageevent WHERE tenant_id = %(tenant)s
      ORDER BY id DESC LIMIT %(most)s) e
{LEDGER} {rated.JOINS}
WHERE e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
  AND COALESCE(s.product_id, e.product_id) = %(product)s AND {COUNTED}
"""  # noqa: S608  # Only constants of this module.
# Whether events of the span may lie behind the newest ones that are read.
OLDEST = """
SELECT min(received_at), count(*) FROM (
  SELECT received_at FROM metering_usageevent WHERE tenant_id = %(tenant)s
  ORDER BY id DESC LIMIT %(most)s) newest
"""
MONTH = f"""
{COLUMNS}
FROM billing_ledgerentry l
JOIN billing_subscription s ON s.id = l.subscription_id
JOIN metering_usageevent e ON e.id = l.event_id
{rated.JOINS}
WHERE l.customer_id = ANY(%(customers)s) AND l.kind IN ('usage', 'adjustment')
  AND l.billing_period_id IN (
    SELECT id FROM billing_billingperiod
    WHERE customer_id = ANY(%(customers)s) AND end_at > %(start)s)
  AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
  AND s.product_id = %(product)s AND {COUNTED}
ORDER BY e.id LIMIT %(most)s
"""  # noqa: S608  # Only constants of this module.


@dataclass(slots=True)
class Group:
    """One group of events, and what it has come to."""

    work: Work
    pieces: Pieces
    standing: Standing = Standing.INCOMPLETE
    missing: str = ""
    # Whether a piece, a signal or a covered measurement is among its events.
    concerns: bool = False


@dataclass(slots=True)
class Outcomes:
    """What the events of a span make of one outcome."""

    charge: Charge
    span: Span
    currency: str
    event_count: int  # Looked at.
    is_cut: bool  # There are more.
    groups: list[Group] = field(default_factory=list)

    @property
    def model(self) -> Compound:
        """The outcome."""
        assert isinstance(self.charge.model, Compound)
        return self.charge.model

    def of(self, *wanted: Standing) -> list[Group]:
        """Return the groups that came to this, the dearest first."""
        found = [group for group in self.groups if group.standing in wanted]
        return sorted(found, key=lambda g: (-g.work.cost, g.work.key))

    def count(self, *wanted: Standing) -> int:
        """Return how many groups came to this."""
        return sum(group.standing in wanted for group in self.groups)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many groups came to what, in the words of pages; matched always first."""
        found = [("matched", self.count(Standing.MATCHED))]
        found.append(("incomplete", self.count(Standing.INCOMPLETE)))
        if self.model.confirm is not None:
            found.append(("not confirmed", self.count(Standing.AWAITING)))
        if self.model.reverse is not None:
            found.append(("reversed", self.count(Standing.REVERSED)))
        return found

    @property
    def words(self) -> str:
        """The counts in one line: 312 matched · 4 incomplete."""
        return " · ".join(f"{count:,} {word}" for word, count in self.counts)

    @property
    def unrecovered(self) -> Decimal:
        """Our cost of the groups that are no outcome."""
        return sum((g.work.cost for g in self.of(*LEFT_OVER)), ZERO)


LEFT_OVER = (Standing.INCOMPLETE, Standing.AWAITING, Standing.REVERSED)


def charges(version: PlanVersion) -> list[Charge]:
    """Return the outcomes that a version prices; of a draft, those that are whole."""
    found = []
    for row in version.body.get("charges", ()):
        price = row.get("price") if isinstance(row, Mapping) else None
        if not isinstance(price, Mapping) or price.get("model") != "compound":
            continue
        try:
            plan = parse_plan({"currency": version.currency, "charges": [row]})
        except PlanError:
            continue
        found.append(plan.charges[0])
    return found


def last_day(charge: Charge, product: Product, currency: str) -> Outcomes:
    """Return what the last 24 hours make of an outcome; at most RECENT_MAX events.

    Groups that lack something are read whole: they may have begun before.
    """
    now = clock.now()
    # A time that is a little ahead of ours is still of today.
    span = Span(now - DAY, now + DAY)
    asked: dict[str, Any] = {"tenant": product.tenant_id, "most": RECENT_MAX}
    seen = read(
        RECENT,
        currency,
        **asked,
        product=product.pk,
        start=span.start,
        end=span.end,
    )
    made = Outcomes(charge, span, currency, len(seen), _is_cut(asked, span))
    _fill(made, seen)
    lacking = {g.work.key for g in made.of(*LEFT_OVER)[:SHOWN_MAX]}
    known = {one.id for one in seen}
    before = [
        one
        for one in whole(lacking, made.model.by, currency)
        if one.id not in known and one.usage.occurred_at < span.start
    ]
    if before:
        _fill(made, [*seen, *before])
    return made


def _is_cut(asked: Mapping[str, Any], span: Span) -> bool:
    """Tell whether events of the span lie behind those that were read."""

    ((oldest, count),) = rows(OLDEST, **asked)
    return bool(count >= RECENT_MAX and oldest > span.start)


def of_month(charge: Charge, product: Product, currency: str, span: Span) -> Outcomes:
    """Return what a month's rated events make of an outcome; at most MONTH_MAX.

    What is said of an outcome after the month counts too, as it does for the bill.
    """
    customers = Subscription.objects.filter(product=product).values_list("customer")
    seen = read(
        MONTH,
        currency,
        customers=[key for (key,) in customers.distinct()],
        product=product.pk,
        start=span.start,
        end=span.end,
        most=MONTH_MAX + 1,
    )
    is_cut = len(seen) > MONTH_MAX
    seen = seen[:MONTH_MAX]
    made = Outcomes(charge, span, currency, len(seen), is_cut)
    _fill(made, seen)
    model = made.model
    if model.has_signals:
        undecided = {g.work.key for g in made.groups if _is_open(model, g, span.end)}
        seen += [
            one
            for one in whole(undecided, model.by, currency)
            if one.usage.occurred_at >= span.end
            and (says(model.confirm, one.usage) or says(model.reverse, one.usage))
        ]
        _fill(made, seen)
    return made


def of_event(event: UsageEvent, plan: Plan) -> list[tuple[Charge, Group]]:
    """Return what the group of an event has come to, for each outcome it concerns.

    Of an event that is void it is the group without it.
    """
    found = []
    span = Span(event.occurred_at, event.occurred_at)
    for charge in plan.charges:
        model = charge.model
        if not isinstance(model, Compound):
            continue
        by_session = model.by is Grouping.SESSION
        name = event.session_key if by_session else event.correlation_id
        seen = whole([GroupKey(event.customer_id, name)], model.by, plan.currency)
        made = Outcomes(charge, span, plan.currency, len(seen), is_cut=False)
        _fill(made, seen)
        found += [(charge, group) for group in made.groups]
    return found


def _is_open(model: Compound, group: Group, end: dt.datetime) -> bool:
    """Tell whether what is said after an instant can still decide on a group."""
    done = completed_at(model, group.pieces)
    if done is None or group.standing is Standing.REVERSED:
        return False
    signals = [model.reverse]
    if group.standing is Standing.AWAITING:
        signals.append(model.confirm)
    return any(
        one is not None
        and (
            one.within_seconds is None
            or done + dt.timedelta(seconds=one.within_seconds) >= end
        )
        for one in signals
    )


def _fill(made: Outcomes, seen: Iterable[Seen]) -> None:
    """Put events into groups and say what each has come to."""
    model, conditions = made.model, made.charge.filter
    # Costs are added up here, unknown ones too: a budget decides nothing of the group.
    rule = replace(model, budget=None)
    groups: dict[tuple[GroupKey, str], Group] = {}
    for one in seen:
        key = one.key(model.by)
        # Nothing ties it to others: it is a group of its own.
        own = "" if key.name else one.id.hex
        group = groups.get((key, own))
        if group is None:
            group = groups[key, own] = Group(Work(key), no_pieces(model))
        group.work.add(one)
        if not conditions.matches(one.usage.properties):
            continue
        is_covered = any(name in one.usage.measurements for name in model.absorbs)
        new = with_event(rule, group.pieces, one.usage, is_alone=not key.name)
        group.concerns |= is_covered or new is not None
        group.pieces = new or group.pieces
    made.groups = [group for group in groups.values() if group.concerns]
    for group in made.groups:
        group.standing = standing(model, group.pieces)
        group.missing = missing(model, group.pieces)
        if not group.work.key.name and not model.is_single:
            by_session = model.by is Grouping.SESSION
            group.missing = f"no {'session' if by_session else 'correlation id'}"


def missing(model: Compound, pieces: Pieces) -> str:
    """Return what a group lacks to be an outcome; empty when it is one."""
    now = standing(model, pieces)
    if now is Standing.MATCHED:
        return ""
    if now is Standing.REVERSED:
        assert model.reverse is not None
        return f"reversed by {model.reverse.event_type}"
    if now is Standing.AWAITING:
        assert model.confirm is not None
        within = model.confirm.within_seconds
        after = f" within {span_words(within)}" if within is not None else ""
        return f"no {model.confirm.event_type}{after}"
    parts = []
    for one, count in zip(model.requirements, pieces.counts, strict=True):
        if count < one.at_least:
            parts.append(
                f"{count} of {one.at_least} {one.event_type}"
                if one.at_least > 1
                else f"no {one.event_type}"
            )
    if parts:
        return ", ".join(parts)
    assert model.within_seconds is not None
    assert completed_at(model, pieces) is None
    return f"pieces more than {span_words(model.within_seconds)} apart"
