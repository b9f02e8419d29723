"""What the simulator asks for: a quantity of everything that a plan counts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal

from aforo.lib.money import ZERO, plain
from catalog.pricing import (
    Aggregation,
    Charge,
    Dimensions,
    Filter,
    Graduated,
    Included,
    Metric,
    Model,
    Package,
    PerUnit,
    Plan,
    PlanError,
    Recipe,
    Source,
    Volume,
    Window,
)
from catalog.pricing.charges import is_fee
from catalog.pricing.dimensions import labels_of
from catalog.pricing.exact import PRICE_LIMIT, QUANTITY_LIMIT
from catalog.pricing.recipes import COST, EVENTS, METER, meter_words
from catalog.pricing.recipes import labels_of as weighed_labels
from catalog.pricing.supposed import Supposed
from catalog.units import many
from portal.composer.numbers import grouped, read
from portal.selectors.unit_costs import UnitCosts

EVENTS_MAX = 1_000_000
PART_UNITS = {
    "tool": "calls",
    "token": "tokens",
    "time": "calls or seconds",
    "sessions": "sessions",
    COST: "of our cost",
    EVENTS: "events",
}
# What a charge by dimensions is tried with first.
PART_SAMPLES = {
    "tool": "1,000",
    "token": "1,000,000",
    "time": "100",
    "sessions": "100",
    COST: "10",
    EVENTS: "1,000",
}

WINDOW_SAMPLES = {
    Window.DAY: "30",
    Window.HOUR: "100",
    Window.SESSION: "100",
    Window.EVENT: "100",
}


@dataclass(slots=True)
class Meter:
    """One quantity: of a metric, for usage that passes a filter."""

    id: str
    charge: Charge  # The first one that counts it.
    metric: Metric
    filter: Filter
    quantity_text: str
    events_text: str  # Empty where the number of events is of no importance.
    cost_text: str  # What one unit costs us, as typed; empty: the blended cost.
    blended: Decimal | None
    quantity: Decimal = ZERO
    events: int = 1
    unit_cost: Decimal | None = None
    problems: dict[str, str] = field(default_factory=dict)
    covered: str = ""  # What else of a customer's month a fee covers, in words.
    part: str = ""  # Of a charge by dimensions; see catalog.pricing.dimensions.

    @property
    def label(self) -> str:
        """What is counted, as the charge says it."""
        words = part_words(self.part)
        return f"{self.charge.name}: {words}" if words else self.charge.name

    @property
    def unit(self) -> str:
        """What several units are called."""
        if not self.charge.unit and self.metric.source is Source.COGS:
            return "of our cost"
        if self.part.startswith(METER):
            return part_words(self.part)
        if self.part:
            return PART_UNITS[self.part.partition(":")[0]]
        return many(self.charge.unit) or "units"

    @property
    def among(self) -> str:
        """What shares the quantity evenly: the events, or the windows."""
        window = self.metric.window
        return "events" if window is Window.PERIOD else f"{window}s"

    @property
    def unit_note(self) -> str:
        """The unit beside the label, unless the label says it already."""
        own = self.unit.removeprefix("of ")
        return "" if self.part and self.label.endswith(own) else self.unit

    @property
    def most(self) -> str:
        """Where the slider ends: twice the quantity, as a round number."""
        size = max(self.quantity * 2, Decimal(100))
        step = Decimal(10) ** size.adjusted()
        whole = (size / step).to_integral_value(rounding=ROUND_CEILING)
        return plain(whole * step)

    @property
    def step(self) -> str:
        """How far the slider moves at least."""
        return plain(max(Decimal(1), Decimal(self.most) / 200))

    @property
    def cost_hint(self) -> str:
        """What stands for the cost of a unit when none is typed."""
        return "" if self.blended is None else plain(self.blended)

    @property
    def supposed(self) -> Supposed:
        """The quantity as pricing takes it."""
        return Supposed(self.metric, self.filter, self.quantity, self.events, self.part)


def meters(plan: Plan, typed: Mapping[str, str], costs: UnitCosts) -> list[Meter]:
    """Return every quantity that a plan counts, with what was typed for it."""
    found: dict[str, Meter] = {}
    others = any(c.metric and c.metric.source is not Source.COGS for c in plan.charges)
    for charge in plan.charges:
        if charge.metric is None:
            continue
        if isinstance(charge.model, Dimensions):
            for part in _in_order(labels_of(charge.model)):
                meter = _part_meter(charge, part, typed, costs)
                found[meter.id] = meter
            continue
        if isinstance(charge.model, Recipe):
            for part in weighed_labels(charge.model):
                meter = _part_meter(charge, part, typed, costs)
                found[meter.id] = meter
            continue
        name = meter_id(charge.metric, charge.filter)
        if name in found:
            continue
        blended = costs.of(charge.metric)
        if charge.metric.source is Source.COGS:
            # The quantity is our cost; beside others it is the cost of those.
            blended = ZERO if others else Decimal(1)
        meter = Meter(
            name,
            charge,
            charge.metric,
            charge.filter,
            typed.get(f"q-{name}", "").strip() or grouped(plain(sample(charge.model))),
            typed.get(f"n-{name}", "").strip() or _several(charge),
            typed.get(f"k-{name}", "").strip(),
            blended,
        )
        _read(meter)
        found[name] = meter
    return list(found.values())


def _in_order(parts: list[str]) -> list[str]:
    """Return the parts with the tools by name, those without a name after them."""
    tools = [p for p in parts if p.startswith("tool:")]
    tools.sort(key=lambda part: (part == "tool:*", part.casefold(), part))
    return tools + [p for p in parts if not p.startswith("tool:")]


def _several(charge: Charge) -> str:
    """Return among how many a quantity is tried first; empty: it does not matter."""
    assert charge.metric is not None
    if charge.metric.window is not Window.PERIOD:
        return WINDOW_SAMPLES[charge.metric.window]
    return "100" if is_fee(charge) else ""


def _part_meter(
    charge: Charge, part: str, typed: Mapping[str, str], costs: UnitCosts
) -> Meter:
    """Return one quantity of a charge by dimensions, or of a recipe."""
    assert charge.metric is not None
    kind, _, rest = part.partition(":")
    measured = rest.partition(":")[0]
    name = meter_id(charge.metric, charge.filter, part)
    blended = None
    first = PART_SAMPLES.get(kind, "")
    if isinstance(charge.model, Recipe):
        first = first or _weighed_sample(charge.model, measured)
        # Beside other meters our cost is the cost of those; events cost nothing apart.
        alone = len(charge.model.weights) == 1
        blended = Decimal(1) if part == COST and alone else ZERO
    if kind in ("token", METER.rstrip(":")):
        blended = costs.of(
            Metric(measured, Aggregation.SUM, Source.MEASUREMENT, measured, frozenset())
        )
    meter = Meter(
        name,
        charge,
        charge.metric,
        charge.filter,
        typed.get(f"q-{name}", "").strip() or first,
        "",
        typed.get(f"k-{name}", "").strip(),
        blended,
        part=part,
    )
    _read(meter)
    return meter


def _weighed_sample(model: Recipe, measured: str) -> str:
    """Return how much of a meter a recipe is tried with first."""
    pers = [weight.per for weight in model.weights if weight.measurement == measured]
    return grouped(str(1000 * max(pers)))


def part_words(part: str) -> str:
    """Return a quantity of a charge by dimensions, or of a recipe, in words."""
    if part.startswith(METER):
        return meter_words(part.removeprefix(METER))
    if part in (COST, EVENTS):
        return "our cost" if part == COST else "events"
    kind, _, rest = part.partition(":")
    name, _, tool = rest.partition(":")
    match kind:
        case "tool":
            return "other tools" if name == "*" else name
        case "token":
            return name.replace("_", " ") + (f" of {tool}" if tool else "")
        case "time":
            return f"duration {int(name) + 1}"
        case _:
            return ""


def meter_id(metric: Metric, conditions: Filter, part: str = "") -> str:
    """Return the name of a quantity's boxes: the same as long as it counts the same."""
    allowed = [(name, sorted(values)) for name, values in conditions.conditions]
    text = f"{metric.key} {allowed}{part and f' {part}'}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _read(meter: Meter) -> None:
    """Read the texts; note what is wrong with them."""
    try:
        meter.quantity = read(meter.quantity_text, "Quantity", below=QUANTITY_LIMIT)
    except PlanError as error:
        meter.problems[f"q-{meter.id}"] = error.message
    meter.unit_cost = meter.blended
    if meter.cost_text:
        try:
            meter.unit_cost = read(
                meter.cost_text, "Our cost of a unit", below=PRICE_LIMIT
            )
        except PlanError as error:
            meter.problems[f"k-{meter.id}"] = error.message
    if meter.events_text:
        whole = meter.events_text.replace(",", "")
        is_whole = whole.isascii() and whole.isdecimal() and len(whole) <= 9
        if is_whole and 1 <= int(whole) <= EVENTS_MAX:
            meter.events = int(whole)
        else:
            meter.problems[f"n-{meter.id}"] = (
                f"{meter.among.capitalize()} are a whole number from 1 to"
                f" {EVENTS_MAX:,}; you entered {meter.events_text[:40]}."
            )


def sample(model: Model) -> Decimal:
    """Return a quantity that shows what a charge model does."""
    match model:
        case Graduated() | Volume():
            ends = [tier.up_to for tier in model.tiers if tier.up_to is not None]
            return (ends[-1] * Decimal("1.4")).normalize() if ends else _many(model.per)
        case Included():
            return model.units * 2
        case Package():
            return model.size * Decimal("10.5")
        case PerUnit():
            return _many(model.per)
        case _:
            return Decimal(1000)


def _many(per: int) -> Decimal:
    """Return a usual quantity where prices are for so many units."""
    return Decimal(1000 if per == 1 else per * 10)
