"""Pricing: pure functions from a plan and usage to priced lines.

No framework, no clock, no I/O. The law: `opening` and the lines of `rate` over any
order of events sum to `price` of their state, to the twelfth place.
"""

from __future__ import annotations

from catalog.pricing.lines import (
    Line,
    Step,
    line_from_json,
    line_to_json,
    steps_from_json,
    steps_to_json,
)
from catalog.pricing.linting import Finding, lint
from catalog.pricing.parsing import FREE_EVENTS_MAX, parse_plan
from catalog.pricing.plan import (
    Aggregation,
    Bucket,
    Charge,
    Dimensions,
    Due,
    DurationUnit,
    Filter,
    Flat,
    From,
    Graduated,
    Included,
    Metric,
    Model,
    Package,
    Penalty,
    Percentage,
    PerUnit,
    Plan,
    Source,
    Tier,
    Volume,
)
from catalog.pricing.rating import (
    Outcome,
    Rated,
    close_sessions,
    closing,
    collect,
    opening,
    price,
    rate,
    rate_many,
    total,
)
from catalog.pricing.reading import PlanError
from catalog.pricing.state import (
    ChargeState,
    PlanState,
    session_key,
    session_of,
    state_from_json,
    state_to_json,
)
from catalog.pricing.usage import Reason, Unrateable, UsageEvent
from catalog.pricing.words import explain, explain_step
from catalog.pricing.writing import plan_to_json

__all__ = [
    "FREE_EVENTS_MAX",
    "Aggregation",
    "Bucket",
    "Charge",
    "ChargeState",
    "Dimensions",
    "Due",
    "DurationUnit",
    "Filter",
    "Finding",
    "Flat",
    "From",
    "Graduated",
    "Included",
    "Line",
    "Metric",
    "Model",
    "Outcome",
    "Package",
    "Penalty",
    "PerUnit",
    "Percentage",
    "Plan",
    "PlanError",
    "PlanState",
    "Rated",
    "Reason",
    "Source",
    "Step",
    "Tier",
    "Unrateable",
    "UsageEvent",
    "Volume",
    "close_sessions",
    "closing",
    "collect",
    "explain",
    "explain_step",
    "line_from_json",
    "line_to_json",
    "lint",
    "opening",
    "parse_plan",
    "plan_to_json",
    "price",
    "rate",
    "rate_many",
    "session_key",
    "session_of",
    "state_from_json",
    "state_to_json",
    "steps_from_json",
    "steps_to_json",
    "total",
]
