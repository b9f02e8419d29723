"""A period's usage under several plans at once, without pricing each event.

What most charges price follows from sums, so equal events (of one type, with the same
properties as far as any plan's filters tell them apart) are added up in a group, and
a plan's state is made from its groups. Charges that need single events (percentages
with fees, bounds or free events; windows within the period; latest and distinct
values; numbers in properties) are rated event by event beside it, without the plan's
other charges.

An event is priced by all charges of a plan or by none. So `states` answers only where
no event can have been refused and no spend level decides; elsewhere it is None, and
the events have to be looked at one after another. Where it answers, it is what
`collect` returns.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from catalog.pricing.charges import is_fee, is_windowed
from catalog.pricing.exact import EXACT, ONE, QUANTITY_LIMIT, ZERO
from catalog.pricing.plan import (
    Aggregation,
    Charge,
    Graduated,
    Included,
    Metric,
    Package,
    Percentage,
    PerUnit,
    Plan,
    Source,
    Volume,
)
from catalog.pricing.program import KINDS_MAX, Program, program_of
from catalog.pricing.rating import rate_many
from catalog.pricing.state import ChargeState, PlanState, Tally
from catalog.pricing.usage import Unrateable, UsageEvent

_SUMMED = (PerUnit, Graduated, Volume, Package, Percentage, Included)
_PLACES = -12
# Single events are rated in batches of so many.
BATCH = 1_000
# What stands in a group for a property or type that no filter tells apart.
_OTHER = ""


@dataclass(slots=True)
class Values:
    """What the values of one measurement (or of the cost) in a group come to."""

    count: int
    total: Decimal
    least: Decimal
    most: Decimal


@dataclass(slots=True)
class Group:
    """Equal events: what they share, and what they come to."""

    event_type: str
    properties: dict[str, str]
    count: int = 0
    unknown_costs: int = 0
    values: dict[str, Values] = field(default_factory=dict)
    costs: Values | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """One plan: the charges that sums are enough for, and those rated apart."""

    plan: Plan
    grouped: Program
    single: Plan | None


@dataclass(frozen=True, slots=True)
class Layout:
    """What several plans read of events; made once for any number of customers."""

    divisions: tuple[Division, ...]
    measurements: frozenset[str]  # Those that are added up.
    reads_cost: bool
    keys: tuple[str, ...]  # The properties that filters read …
    allowed: tuple[frozenset[str], ...]  # … and the values that they tell apart.
    types: frozenset[str]

    @classmethod
    def of(cls, plans: Sequence[Plan]) -> Layout:
        """Return the layout of plans of one currency."""
        divisions = tuple(_division(plan) for plan in plans)
        metrics = [m for part in divisions for m, _ in part.grouped.groups]
        allowed: dict[str, set[str]] = {}
        for part in divisions:
            for charge in part.grouped.plan.charges:
                for key, values in charge.filter.conditions:
                    allowed.setdefault(key, set()).update(values)
        keys = tuple(sorted(allowed))
        return cls(
            divisions,
            frozenset(m.field for m in metrics if m.source is Source.MEASUREMENT),
            any(m.source is Source.COGS for m in metrics),
            keys,
            tuple(frozenset(allowed[key]) for key in keys),
            frozenset(name for metric in metrics for name in metric.event_types),
        )


class Tabulation:
    """Adds up the events of a period for the plans of a layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._groups: dict[tuple[str | None, ...], Group] = {}
        # Groups by what events really say; clients choose that, so bounded.
        self._seen: dict[tuple[str | None, ...], Group] = {}
        self._waiting: list[UsageEvent] = []
        self._has_single = any(part.single for part in layout.divisions)
        # Of the single charges, by plan; None once an event was refused.
        self._single: list[PlanState | None] = [
            None if part.plan.levels else {} for part in layout.divisions
        ]
        self._odd = False

    def add(self, events: Iterable[UsageEvent]) -> None:
        """Add events, in the order in which they would be rated."""
        with decimal.localcontext(EXACT):
            for event in events:
                if self._has_single:
                    self._waiting.append(event)
                    if len(self._waiting) >= BATCH:
                        self._rate_waiting()
                if not self._odd:
                    try:
                        self._put(event)
                    except (decimal.Inexact, decimal.InvalidOperation):
                        self._odd = True

    def states(self) -> list[PlanState | None]:
        """Return the usage under each plan as `collect` does; None: ask `collect`."""
        self._rate_waiting()
        if self._odd:
            return [None for _ in self._single]
        groups = self._groups.values()
        with decimal.localcontext(EXACT):
            return [
                None if single is None else _state(part.grouped, groups, single)
                for part, single in zip(
                    self._layout.divisions, self._single, strict=True
                )
            ]

    def _rate_waiting(self) -> None:
        """Rate the events that wait under the charges that need single ones."""
        for index, part in enumerate(self._layout.divisions):
            before = self._single[index]
            if part.single is None or before is None or not self._waiting:
                continue
            outcomes, after = rate_many(part.single, before, self._waiting)
            refused = any(isinstance(outcome, Unrateable) for outcome in outcomes)
            self._single[index] = None if refused else after
        self._waiting.clear()

    def _put(self, event: UsageEvent) -> None:
        """Add an event to its group."""
        layout = self._layout
        kind = (event.event_type, *map(event.properties.get, layout.keys))
        group = self._seen.get(kind)
        if group is None:
            group = self._open(kind)
        group.count += 1
        wanted, values = layout.measurements, group.values
        for name, value in event.measurements.items():
            if name not in wanted:
                continue
            found = values.get(name)
            if found is None:
                found = values[name] = Values(0, ZERO, value, value)
            found.count += 1
            found.total += value
            if value < found.least:
                found.least = value
            elif value > found.most:
                found.most = value
        if layout.reads_cost:
            self._put_cost(group, event.cost)

    def _put_cost(self, group: Group, cost: Decimal | None) -> None:
        """Add an event's cost to its group."""
        if cost is None:
            group.unknown_costs += 1
            return
        if group.costs is None:
            group.costs = Values(0, ZERO, cost, cost)
        found = group.costs
        found.count += 1
        found.total += cost
        found.least = min(found.least, cost)
        found.most = max(found.most, cost)

    def _open(self, kind: tuple[str | None, ...]) -> Group:
        """Return the group of a kind, with only what filters tell apart."""
        layout = self._layout
        name, *values = kind
        properties = {
            key: value
            for key, value, allowed in zip(
                layout.keys, values, layout.allowed, strict=True
            )
            if value is not None and value in allowed
        }
        event_type = name if name is not None and name in layout.types else _OTHER
        short = (event_type, *map(properties.get, layout.keys))
        group = self._groups.get(short)
        if group is None:
            group = self._groups[short] = Group(event_type, properties)
        if len(self._seen) >= KINDS_MAX:
            self._seen.clear()
        self._seen[kind] = group
        return group


def _division(plan: Plan) -> Division:
    """Divide a plan's charges; those that share a metric stay together.

    Where spend levels decide, the order of events does: nothing can be added up.
    """
    if plan.levels:
        return Division(plan, program_of(replace(plan, charges=())), None)
    apart = {c.metric.key for c in plan.charges if c.metric and not _is_summed(c)}
    single = tuple(c for c in plan.charges if c.metric and c.metric.key in apart)
    grouped = tuple(c for c in plan.charges if c.metric and c.metric.key not in apart)
    return Division(
        plan,
        program_of(replace(plan, charges=grouped)),
        replace(plan, charges=single) if single else None,
    )


def _is_summed(charge: Charge) -> bool:
    """Tell whether sums of equal events are enough for a charge."""
    metric = charge.metric
    if metric is None or not isinstance(charge.model, _SUMMED) or is_fee(charge):
        return False
    if is_windowed(charge):
        return False
    return metric.source is not Source.PROPERTY and metric.aggregation in (
        Aggregation.COUNT,
        Aggregation.SUM,
        Aggregation.MAX,
        Aggregation.MIN,
        Aggregation.AVG,
    )


def _state(
    program: Program, groups: Iterable[Group], single: PlanState
) -> PlanState | None:
    """Return the state that groups come to; None when an event may be refused."""
    charges = program.plan.charges
    sums: dict[int, Values] = {}
    for group in groups:
        for route in program.routes(group.event_type, group.properties):
            if route.metric.source is Source.COGS and group.unknown_costs:
                return None
            values = _values(route.metric, group)
            if values is None:
                continue
            if values.least < ZERO or not _fits(values.total):
                return None
            merged = _merged(sums.get(route.index), values)
            if not _fits(merged.total):
                return None
            sums[route.index] = merged
    state: dict[str, ChargeState] = dict(single)
    for index, values in sums.items():
        metric = charges[index].metric
        assert metric is not None
        tally = Tally(values.count, _kept(metric.aggregation, values))
        state[charges[index].key] = tally
    return state


def _values(metric: Metric, group: Group) -> Values | None:
    """Return what a metric reads in a group; None when none of its events has it."""
    if metric.source is Source.EVENT:
        return Values(group.count, Decimal(group.count), ONE, ONE)
    if metric.source is Source.COGS:
        found = group.costs
    else:
        found = group.values.get(metric.field)
    if found is not None and metric.aggregation is Aggregation.COUNT:
        return Values(found.count, Decimal(found.count), ONE, ONE)
    return found


def _merged(before: Values | None, more: Values) -> Values:
    """Return the values of several groups together."""
    if before is None:
        return more
    return Values(
        before.count + more.count,
        before.total + more.total,
        min(before.least, more.least),
        max(before.most, more.most),
    )


def _fits(total: Decimal) -> bool:
    """Tell whether a sum proves that each of its parts could be counted.

    A sum has the places of its longest part, also where they come to zero.
    """
    exponent = total.as_tuple().exponent
    if not isinstance(exponent, int):
        return False
    return exponent >= _PLACES and total < QUANTITY_LIMIT


def _kept(aggregation: Aggregation, values: Values) -> Decimal:
    """Return what the tally of a charge keeps of its values."""
    if aggregation is Aggregation.MAX:
        return values.most
    if aggregation is Aggregation.MIN:
        return values.least
    return values.total
