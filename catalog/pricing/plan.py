"""What a rate plan says: charges, their metrics, filters and charge models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from catalog.pricing.exact import ZERO


class Aggregation(StrEnum):
    """How the events of a period become one quantity."""

    COUNT = "count"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    AVG = "avg"
    UNIQUE = "unique"
    LATEST = "latest"


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


# What a charge by dimensions counts: every event, each part in its own way.
DIMENSIONS_METRIC = Metric(
    "event.dimensions", Aggregation.COUNT, Source.EVENT, "", frozenset()
)


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


class DurationUnit(StrEnum):
    """What a duration bucket's rate is for."""

    PER_INVOCATION = "per_invocation"
    PER_SECOND = "per_second"


class Bucket(NamedTuple):
    """The rate of calls that take up to so long; the last one takes longer ones too."""

    max_seconds: Decimal
    rate: Decimal


class Penalty(NamedTuple):
    """Sessions with a larger share of failed invocations cost a multiple."""

    threshold: Decimal  # A share: 0.05 is 5 %.
    multiplier: Decimal


class From(NamedTuple):
    """What holds for a period with at least so many invocations."""

    min_invocations: int
    value: Decimal  # A rate, or a discount in percent.


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Rates by tool, tokens, duration and session that are multiplied together.

    An event costs (tool + tokens × tool multiplier + duration) × error multiplier ×
    volume discount, and its session a fee once; see docs/pricing.md.
    """

    tools: Mapping[str, Decimal]  # Rate of one invocation, by tool.
    other_tools: Decimal | None  # Of tools that are not named: "*".
    tokens: Mapping[str, Decimal]  # Rate of one unit, by measurement.
    multipliers: Mapping[str, Decimal]  # On tokens, by tool; a tool not named: 1.
    buckets: tuple[Bucket, ...]  # Rising.
    duration_unit: DurationUnit
    penalty: Penalty | None
    volume_rates: tuple[From, ...]  # Instead of other_tools; rising, from 0.
    discounts: tuple[From, ...]  # Rising.
    session_fee: Decimal
    included_tools: int  # Invocations that a session's fee covers.

    @property
    def needs_sessions(self) -> bool:
        """Whether the usage of single sessions is looked at."""
        return bool(self.session_fee or self.included_tools or self.penalty)


class Grouping(StrEnum):
    """What holds the events of one outcome together."""

    CORRELATION = "correlation"
    SESSION = "session"


class Requirement(NamedTuple):
    """Events that an outcome is made of."""

    event_type: str
    at_least: int
    where: Filter


@dataclass(frozen=True, slots=True)
class Compound:
    """One price for an outcome that many metered events are behind.

    A correlation id (or session) with at least so many events of every requirement
    is one outcome, and only one, however many more there are. What `absorbs` names is
    metered and costed as always and has no price of its own.
    """

    requirements: tuple[Requirement, ...]
    by: Grouping
    # The first events of the requirements lie at most so far apart; None: any time.
    within_seconds: int | None
    absorbs: tuple[str, ...]  # Measurements.
    price: PerUnit | Graduated | Volume | Package | Included  # Of outcomes.

    @property
    def is_single(self) -> bool:
        """Whether one event alone is an outcome."""
        return len(self.requirements) == 1 and self.requirements[0].at_least == 1


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
    minimum: Decimal | None = None  # Of a period: the minimum spend.
    maximum: Decimal | None = None
    discounts: tuple[Discount, ...] = ()

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
