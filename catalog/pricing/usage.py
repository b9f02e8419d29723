"""What pricing reads: one usage event, and why one cannot be priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class UsageEvent(NamedTuple):
    """One accepted event, as pricing sees it."""

    event_id: str
    occurred_at: datetime  # Timezone-aware.
    event_type: str
    properties: Mapping[str, str]
    measurements: Mapping[str, Decimal]  # Not negative, at most 12 places.
    cost: Decimal | None  # Our cost of it in the plan's currency; None: unknown.
    session: str = ""  # The session that it belongs to; empty: none.
    correlation: str = ""  # What holds the events of one piece of work together.


class Reason(StrEnum):
    """Why an event cannot be priced now; it is kept and can be replayed."""

    UNKNOWN_COST = "unknown_cost"
    NEGATIVE_QUANTITY = "negative_quantity"
    TOO_PRECISE = "too_precise"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    INVALID_PROPERTY = "invalid_property"
    TOO_MANY_UNIQUE = "too_many_unique"


@dataclass(frozen=True, slots=True)
class Unrateable:
    """The event was not priced at all: no line, no change of state."""

    reason: Reason
    charge_key: str
    detail: str


class Refused(Exception):
    """A charge cannot take a value; the whole event is left unpriced."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
