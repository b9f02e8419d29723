"""The simulator: what a month of usage costs a customer and us, by the real engine."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.utils.safestring import SafeString

from aforo.lib import clock
from aforo.lib.money import CONTEXT, ZERO, display
from billing.models import Customer
from billing.plan_terms import printed
from catalog.models import Product
from catalog.plans import PricedPlan
from catalog.pricing import (
    Charge,
    Dimensions,
    Finding,
    Graduated,
    Included,
    Line,
    Plan,
    PlanState,
    Recipe,
    Volume,
    explain,
    is_plan_key,
    plan_lines,
    price,
    total,
    true_ups,
)
from catalog.pricing.dimensions import SESSIONS
from catalog.pricing.lines import by_key
from catalog.pricing.recipes import quantities_of
from catalog.pricing.state import Dims, Weighed, Windows
from catalog.pricing.supposed import Supposed, suppose
from portal.composer.doubts import doubts
from portal.composer.meters import Meter, meters
from portal.composer.numbers import without_sign
from portal.selectors import month_usage
from portal.selectors.figures import Span
from portal.selectors.unit_costs import UnitCosts
from portal.ui.charts import curve
from portal.ui.figures import quantity_text

POINTS = 24
NEXT = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the simulator is asked: typed quantities, or a customer's month."""

    product: Product
    typed: Mapping[str, str]
    costs: UnitCosts
    customer: Customer | None
    month: Span
    live: PricedPlan | None  # The version to compare with.
    starts_on: dt.date  # Which period: dated discounts go by it.


@dataclass(frozen=True, slots=True)
class BillLine:
    """One line of the bill with its steps in words."""

    line: Line
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The bill over one quantity, everything else as it is."""

    meter: Meter
    plot: SafeString
    caption: str
    rows: list[tuple[str, str]]
    next_cost: Decimal


@dataclass(slots=True)
class Simulation:
    """What the simulator shows."""

    currency: str
    at: dt.datetime
    meters: list[Meter]
    lines: list[BillLine] = field(default_factory=list)
    total: Decimal = ZERO
    cost: Decimal | None = None
    unknown_count: int = 0  # Events of the month whose cost is not known.
    cost_note: str = ""  # Why the cost is a dash, or where it is from.
    live_total: Decimal | None = None
    live_note: str = ""
    curve: Curve | None = None
    findings: tuple[Finding, ...] = ()
    refusal: str = ""  # Why there are no figures.
    event_count: int | None = None  # Of a customer's month.

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with the typed quantities, by box."""
        return {box: text for m in self.meters for box, text in m.problems.items()}

    @property
    def invoiced(self) -> Decimal:
        """The bill as an invoice says it: every line rounded once."""
        rows = by_key(row.line for row in self.lines).items()
        return sum(printed(rows, self.currency), ZERO)

    @property
    def invoices_otherwise(self) -> bool:
        """Whether rounding line by line shows in the sum."""
        return display(self.invoiced, self.currency) != display(
            self.total, self.currency
        )

    @property
    def margin(self) -> Decimal | None:
        """The bill less our cost; None when the cost is not known."""
        return None if self.cost is None else self.total - self.cost

    @property
    def ratio(self) -> Decimal | None:
        """Margin over bill."""
        if self.margin is None or not self.total:
            return None
        return CONTEXT.divide(self.margin, self.total)

    @property
    def difference(self) -> Decimal | None:
        """What the customer pays more than with the live version."""
        return None if self.live_total is None else self.total - self.live_total


def simulate(plan: Plan, asked: Scenario) -> Simulation:
    """Return what a plan comes to; figures only where all quantities are right."""
    with decimal.localcontext(CONTEXT):
        typed = {n: without_sign(t, plan.currency) for n, t in asked.typed.items()}
        found = meters(plan, typed, asked.costs)
        doubted = doubts(plan, asked.product)
        result = Simulation(plan.currency, clock.now(), found, findings=doubted)
        if asked.customer is not None:
            state = _measured(plan, asked, result)
        else:
            state = None if result.problems else _supposed(plan, asked, result)
        if state is None:
            return result
        lines = total(plan, state, starts_on=asked.starts_on)
        result.lines = [BillLine(line, explain(line)) for line in lines]
        result.total = sum((line.amount for line in lines), ZERO)
        # A curve that leaves the numbers that can be rated is not drawn.
        with contextlib.suppress(decimal.Inexact, decimal.InvalidOperation):
            result.curve = _curve(plan, asked, result)
        return result


def _supposed(plan: Plan, asked: Scenario, result: Simulation) -> PlanState | None:
    """Return the typed usage, and what it costs us and costs with the live version."""
    usage = [meter.supposed for meter in result.meters]
    try:
        state = suppose(plan, usage)
    except (decimal.Inexact, decimal.InvalidOperation):
        result.refusal = "The quantities are too large to add up."
        return None
    lacking = [m for m in result.meters if m.unit_cost is None and m.quantity]
    if not result.meters:
        result.cost, result.cost_note = ZERO, "nothing is counted"
    elif lacking:
        result.cost_note = (
            f"no cost of {lacking[0].unit} is known from the last 30 days;"
            " type what one costs"
        )
    else:
        result.cost = sum(
            (CONTEXT.multiply(m.quantity, m.unit_cost or ZERO) for m in result.meters),
            ZERO,
        )
        result.cost_note = "quantities × cost of a unit"
    if (live := _comparable(plan, asked, result)) is not None:
        state_live = suppose(live.plan, usage)
        lines = total(live.plan, state_live, starts_on=asked.starts_on)
        result.live_total = sum((line.amount for line in lines), ZERO)
        asks = {m.id for m in result.meters}
        theirs = meters(live.plan, {}, asked.costs)
        more = [meter.label for meter in theirs if meter.id not in asks]
        if more:
            result.live_note = f"nothing is typed for its {more[0]}"
    return state


def _measured(plan: Plan, asked: Scenario, result: Simulation) -> PlanState | None:
    """Return a customer's month as the plan counts it, with its recorded cost."""
    assert asked.customer is not None
    live = _comparable(plan, asked, result)
    plans = [plan] if live is None else [plan, live.plan]
    counted = month_usage.count(plans, asked.customer, asked.product, asked.month)
    if counted is None:
        result.refusal = (
            f"{asked.customer} has more than {month_usage.EVENTS_MAX:,} events in"
            f" {asked.month.start:%B %Y}. Run a backtest in the simulator instead."
        )
        return None
    own = counted[0]
    result.event_count = own.event_count
    result.cost, result.unknown_count = own.known_cost, own.unknown_count
    if own.known_cost is None:
        result.cost_note = "no event's cost is known: cost rates are missing"
    elif own.unknown_count:
        result.cost_note = f"{own.unknown_count:,} events have no known cost"
    else:
        result.cost_note = "as recorded with the events"
    by_charge = {line.charge_key: line.quantity for line in price(plan, own.state)}
    for meter in result.meters:
        meter.problems.clear()
        meter.quantity = by_charge.get(meter.charge.key, ZERO)
        used = own.state.get(meter.charge.key)
        if meter.part and isinstance(used, Dims):
            in_all = {**used.use, SESSIONS: Decimal(used.sessions)}
            meter.quantity = in_all.get(meter.part, ZERO)
            meter.covered = _covered_words(meter, used)
        elif meter.part:
            known = quantities_of(used) if isinstance(used, Weighed) else {}
            meter.quantity = known.get(meter.part, ZERO)
        if isinstance(used, Windows):
            meter.events = max(used.windows, 1)
    if live is not None:
        lines = total(live.plan, counted[1].state, starts_on=asked.starts_on)
        result.live_total = sum((line.amount for line in lines), ZERO)
    return own.state


def _covered_words(meter: Meter, used: Dims) -> str:
    """Return what covers calls that are not in a meter; empty where nothing does.

    What is kept of a month tells how many calls there were and how many are priced, not
    which tools the others called.
    """
    model = meter.charge.model
    if not isinstance(model, Dimensions) or not model.included_tools:
        return ""
    if not meter.part.startswith("tool"):
        return ""
    calls = (n for part, n in used.use.items() if part.startswith("tool"))
    covered = used.invocations - sum(calls, ZERO)
    if covered <= 0:
        return ""
    # A tool without a rate is counted and priced nowhere: it may be among these.
    named_only = model.other_tools is None and not model.volume_rates
    free = " or have no rate" if named_only else ""
    return (
        f"{quantity_text(Decimal(covered))} calls of the charge's tools are covered by"
        f" session fees ({model.included_tools:,} calls each){free}"
    )


def _comparable(plan: Plan, asked: Scenario, result: Simulation) -> PricedPlan | None:
    """Return the live version, if it is in the same currency."""
    if asked.live is not None and asked.live.currency != plan.currency:
        result.live_note = f"it is in {asked.live.currency}"
        return None
    return asked.live


def _curve(plan: Plan, asked: Scenario, result: Simulation) -> Curve | None:
    """Return the bill over the chosen quantity, or over the first one."""
    if not result.meters:
        return None
    chosen = asked.typed.get("curve", "")
    meter = next((m for m in result.meters if m.id == chosen), result.meters[0])
    right = max(meter.quantity * 2, _last_end(meter.charge) * Decimal("1.5"), NEXT)
    xs = [(right * n / POINTS).quantize(Decimal(1)) for n in range(POINTS + 1)]
    # Units of a recipe come of all its meters together.
    beside = [
        m.supposed
        for m in result.meters
        if m is not meter
        and m.charge.key == meter.charge.key
        and isinstance(meter.charge.model, Recipe)
    ]
    bill_of = _bills(plan, asked.starts_on, meter, beside, result)
    points = [(x, bill_of(x)) for x in xs]
    next_cost = bill_of(meter.quantity + NEXT) - bill_of(meter.quantity)
    bill = [display(y, plan.currency) for _, y in points]
    caption = (
        f"Bill by {meter.unit} of {meter.label}: {bill[0]} at none, {bill[-1]} at"
        f" {quantity_text(right)}; you are at {quantity_text(meter.quantity)}"
    )
    return Curve(
        meter,
        curve(points, meter.quantity, caption),
        caption,
        [(quantity_text(x), y) for (x, _), y in zip(points, bill, strict=True)],
        next_cost,
    )


def _bills(
    plan: Plan,
    starts_on: dt.date,
    meter: Meter,
    beside: Sequence[Supposed],
    result: Simulation,
) -> Callable[[Decimal], Decimal]:
    """Return what the bill is for another quantity of one charge, the rest as it is."""
    alone = Plan(plan.currency, (meter.charge,))
    own = meter.charge.key
    rest = [
        row.line
        for row in result.lines
        if row.line.charge_key != own and not is_plan_key(row.line.charge_key)
    ]

    def bill_of(quantity: Decimal) -> Decimal:
        part = meter.supposed._replace(quantity=quantity)
        state = suppose(alone, [part, *beside])
        lines = [*rest, *price(alone, state), *true_ups(alone, state)]
        lines += plan_lines(plan, lines, starts_on)
        return sum((line.amount for line in lines), ZERO)

    return bill_of


def _last_end(charge: Charge) -> Decimal:
    """Return where the last bounded tier of a charge, or its quota, ends."""
    match charge.model:
        case Graduated() | Volume():
            ends = [tier.up_to for tier in charge.model.tiers if tier.up_to is not None]
            return ends[-1] if ends else ZERO
        case Included():
            return charge.model.units
        case _:
            return ZERO
