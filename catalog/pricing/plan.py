"""What a rate plan says: charges, their metrics, filters and charge models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.exact import ONE, ZERO


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE = "unique"
    LATEST = "latest"


class Window(StrEnum):
    """What a metric is aggregated and priced for, each by itself."""

    PERIOD = "period"
    DAY = "day"  # Of UTC, as the hour.
    HOUR = "hour"
    SESSION = "session"
    EVENT = "event"


class Source(StrEnum):
    """Where a metric reads its value in an event."""

    EVENT = "event"
    MEASUREMENT = "measurement"
    PROPERTY = "property"
    COGS = "cogs"


class Due(StrEnum):
    """When a flat amount is posted."""

    ADVANCE = "advance"
    ARREARS = "arrears"


@dataclass(frozen=True, slots=True)
class Tier:
    """A price for the units above the tier before, up to and including `up_to`."""

    up_to: Decimal | None  # None on the last tier: unbounded.
    unit_amount: Decimal
    flat_amount: Decimal  # Due once, when the tier is entered.


@dataclass(frozen=True, slots=True)
class PerUnit:
    """One price for every unit."""

    unit_amount: Decimal
    per: int  # The price is for 1, 1,000 or 1,000,000 units.


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each unit at the price of the tier that it falls into."""

    tiers: tuple[Tier, ...]
    per: int


@dataclass(frozen=True, slots=True)
class Volume:
    """All units at the price of the tier that the whole quantity reaches."""

    tiers: tuple[Tier, ...]
    per: int


@dataclass(frozen=True, slots=True)
class Package:
    """Units sold in whole packages: a started package counts.

    The price counts packages, so its tiers are chosen after rounding up.
    """

    size: Decimal
    price: PerUnit | Graduated | Volume


@dataclass(frozen=True, slots=True)
class Percentage:
    """A share of a sum of money, with an optional fee and bounds for each event.

    fee of an event = rate % of its amount + fixed_amount, not below minimum, not
    above maximum. The first `free_events` events by (occurred_at, event_id) or the
    first `free_amount` of money are free, whichever ends first; a started remainder
    reduces the amount of the event that exhausts it.
    """

    rate: Decimal  # In percent: 2.5 means 2.5 %.
    fixed_amount: Decimal
    minimum: Decimal | None
    maximum: Decimal | None
    free_events: int | None
    free_amount: Decimal | None

    @property
    def is_linear(self) -> bool:
        """Whether only the sum of money decides, not the single events."""
        return (
            not self.fixed_amount
            and self.minimum is None
            and self.maximum is None
            and self.free_events is None
        )


@dataclass(frozen=True, slots=True)
class Flat:
    """A fixed amount per period."""

    amount: Decimal
    due: Due


@dataclass(frozen=True, slots=True)
class Included:
    """A quantity that is free; any other model prices what goes beyond it."""

    units: Decimal
    overage: PerUnit | Graduated | Volume | Package | Percentage


@dataclass(frozen=True, slots=True)
class Metric:
    """What is counted, and how."""

    key: str
    aggregation: Aggregation
    source: Source
    field: str  # Name of the measurement or property; empty for event and cogs.
    event_types: frozenset[str]  # Empty: events of every type.
    window: Window = Window.PERIOD


# What a charge by dimensions counts: every event, each part in its own way.
DIMENSIONS_METRIC = Metric(
    "event.dimensions", Aggregation.COUNT, Source.EVENT, "", frozenset()
)


# What a recipe counts: every event, each of its meters with a weight of its own.
RECIPE_METRIC = Metric("event.recipe", Aggregation.COUNT, Source.EVENT, "", frozenset())


def outcome_metric(charge_key: str, event_types: frozenset[str]) -> Metric:
    """Return what a compound charge counts; no two share it: each sees all events."""
    key = f"event.outcome.{charge_key}"
    return Metric(key, Aggregation.COUNT, Source.EVENT, "", event_types)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on an event's properties; all of them must hold."""

    conditions: tuple[tuple[str, frozenset[str]], ...]  # Sorted by property name.

    @property
    def specificity(self) -> int:
        """How many properties are named: the larger number wins."""
        return len(self.conditions)

    def matches(self, properties: Mapping[str, str]) -> bool:
        """Tell whether an event with these properties passes."""
        return all(properties.get(key) in allowed for key, allowed in self.conditions)


Model = (
    PerUnit
    | Graduated
    | Volume
    | Package
    | Percentage
    | Flat
    | Included
    | Dimensions
    | Compound
    | Recipe
)


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the price list."""

    key: str
    name: str  # As the invoice says it.
    unit: str  # What one unit is called, such as "tokens".
    metric: Metric | None  # None for a flat amount.
    model: Model
    filter: Filter
    discount: Decimal = ZERO  # In percent, of the period's price.
    minimum: Decimal | None = None  # Of a period; made up for when it ends.
    maximum: Decimal | None = None  # Of a period, after the discount.


# The property by which a charge is for some spend levels; rating sets it.
SPEND_LEVEL = "spend_level"


@dataclass(frozen=True, slots=True)
class Level:
    """A spend level: what a customer reaches by spending, by buying, or by hand."""

    key: str
    name: str
    spend_from: Decimal | None  # Rated usage of the period.
    credits_from: Decimal | None  # Purchased credits, of any time.
    # Limits a minute are multiplied by it; prices are not.
    limits_multiplier: Decimal = ONE


@dataclass(frozen=True, slots=True)
class Discount:
    """What is taken off a plan's charges of a period: a percentage or an amount."""

    name: str  # As the invoice says it.
    percent: Decimal | None  # None for an amount.
    amount: Decimal | None
    charges: tuple[str, ...] = ()  # Their keys; empty: all.
    # It holds for periods that start on a day in [starts_on, ends_on).
    starts_on: date | None = None
    ends_on: date | None = None

    @property
    def is_dated(self) -> bool:
        """Whether it does not hold for every period."""
        return self.starts_on is not None or self.ends_on is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """The charges of one plan version, in one currency, in declared order.

    The rest holds for all of them together; see catalog.pricing.terms.
    """

    currency: str
    charges: tuple[Charge, ...]
    # The same charges in further currencies, by code; these have no variants.
    variants: tuple[Plan, ...] = ()
    levels: tuple[Level, ...] = ()  # Lowest first; the first one has no trigger.
    minimum: Decimal | None = None  # Of a period: the minimum spend.
    maximum: Decimal | None = None
    discounts: tuple[Discount, ...] = ()

    @property
    def currencies(self) -> tuple[str, ...]:
        """The currencies that the plan is sold in, its own first."""
        return (self.currency, *(one.currency for one in self.variants))

    @property
    def has_terms(self) -> bool:
        """Whether anything holds for the charges together."""
        bounds = (self.minimum, self.maximum)
        return bool(self.discounts) or any(bound is not None for bound in bounds)

    @property
    def is_dated(self) -> bool:
        """Whether a period's price depends on the day on which it starts."""
        return any(discount.is_dated for discount in self.discounts)

    def charge(self, key: str) -> Charge:
        """Return the charge with this key; KeyError when there is none."""
        for charge in self.charges:
            if charge.key == key:
                return charge
        raise KeyError(key)
