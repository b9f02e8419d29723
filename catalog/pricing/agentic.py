"""Charge models of agentic work: dimensions, outcomes and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from catalog.pricing.plan import (
        Filter,
        Graduated,
        Included,
        Package,
        PerUnit,
        Volume,
    )


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


class Commitment(NamedTuple):
    """Calls of a period that are paid when it opens, used or not."""

    amount: int  # How many are covered; only those beyond cost the rate of "*".
    price: Decimal


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
    commitment: Commitment | None = None  # None: pay as you go.

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


class Signal(NamedTuple):
    """An event that says of an outcome that it holds, or that it does not."""

    event_type: str
    where: Filter
    # From the outcome's completion on, at most so long; None: without a limit.
    within_seconds: int | None


class CostBudget(NamedTuple):
    """What an outcome may cost us; a share of what goes beyond it is billed."""

    amount: Decimal
    overage_percent: Decimal


@dataclass(frozen=True, slots=True)
class Compound:
    """One price for an outcome that many metered events are behind.

    A correlation id (or session) with at least so many events of every requirement
    is one outcome, and only one, however many more there are. With `confirm` it counts
    when such an event came too, with `reverse` it does not when such an event came.
    What `absorbs` names is metered and costed as always and has no price of its own.
    """

    requirements: tuple[Requirement, ...]
    by: Grouping
    # The first events of the requirements lie at most so far apart; None: any time.
    within_seconds: int | None
    absorbs: tuple[str, ...]  # Measurements.
    price: PerUnit | Graduated | Volume | Package | Included  # Of outcomes.
    confirm: Signal | None = None
    reverse: Signal | None = None
    budget: CostBudget | None = None

    @property
    def event_types(self) -> frozenset[str]:
        """The types of the events that it looks at; empty: every type."""
        if self.budget is not None:
            return frozenset()
        pieces = {one.event_type for one in self.requirements}
        signals = {one.event_type for one in (self.confirm, self.reverse) if one}
        return frozenset(pieces | signals)

    @property
    def is_single(self) -> bool:
        """Whether one event alone is an outcome."""
        return len(self.requirements) == 1 and self.requirements[0].at_least == 1

    @property
    def has_signals(self) -> bool:
        """Whether an outcome is confirmed or reversed by further events."""
        return self.confirm is not None or self.reverse is not None


class Rounding(StrEnum):
    """How the units of one event are rounded."""

    UP = "up"
    HALF_UP = "half_up"
    DOWN = "down"


class Weight(NamedTuple):
    """How many units a meter comes to: `amount` for `per` of it."""

    measurement: str  # Empty: our cost of the event.
    amount: Decimal
    per: int  # 1, 1,000 or 1,000,000.


@dataclass(frozen=True, slots=True)
class Recipe:
    """Units, such as credits, that meters of an event are turned into, and their price.

    Units of an event = sum of value × weight, then the markup, then the rounding, and
    at least the minimum where a meter is above zero.
    """

    weights: tuple[Weight, ...]
    markup: Decimal  # In percent, on the units.
    rounding: Rounding | None  # Of an event's units; None: they stay exact.
    decimals: int  # The places that rounding leaves.
    minimum: Decimal | None  # Units of an event that has any of the meters.
    price: PerUnit | Graduated | Volume | Package | Included  # Of units.
