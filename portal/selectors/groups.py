"""Groups of events that belong together: what they measured and what they cost us."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.core import fx
from aforo.lib import ids
from aforo.lib.invariants import rows
from aforo.lib.money import ZERO
from catalog.pricing import Grouping, UsageEvent
from metering import rated
from portal.selectors.meters import summed

# What `rated.event` reads, then what the pages need; see WHOLE for the joins.
COLUMNS = f"""
SELECT {rated.COLUMNS},
  e.id, e.customer_id, c.name, e.session_key
"""  # Only constants.
# What was taken back is no part of any group; the event that amends it may be.
COUNTED = """
NOT EXISTS (SELECT FROM metering_eventvoid v WHERE v.event_id = e.id)
"""
LEDGER = """
LEFT JOIN billing_ledgerentry l
  ON l.event_id = e.id AND l.kind IN ('usage', 'adjustment')
LEFT JOIN billing_subscription s ON s.id = l.subscription_id
"""
# All events of groups that still count, whatever they were charged with.
WHOLE = f"""
{COLUMNS}
FROM unnest(%(customers)s::uuid[], %(names)s::text[]) AS k (customer_id, name)
JOIN metering_usageevent e
  ON e.customer_id = k.customer_id AND e.{{column}} = k.name AND e.{{column}} <> ''
{LEDGER} {rated.JOINS}
WHERE {COUNTED}
ORDER BY e.id LIMIT %(most)s
"""  # Only constants of this module.
BY_COLUMN = {
    Grouping.CORRELATION: "correlation_id",
    Grouping.SESSION: "session_key",
}
WHOLE_MAX = 20_000


class GroupKey(NamedTuple):
    """What holds events together: a customer's correlation id or session."""

    customer_id: uuid.UUID
    name: str


class Seen(NamedTuple):
    """A stored event as rating sees it, with whose it is."""

    usage: UsageEvent
    id: uuid.UUID
    customer_id: uuid.UUID
    customer: str
    session_key: str

    def key(self, by: Grouping) -> GroupKey:
        """Return the group that it belongs to; alone, one of its own."""
        by_session = by is Grouping.SESSION
        name = self.session_key if by_session else self.usage.correlation
        return GroupKey(self.customer_id, name)


@dataclass(slots=True)
class Work:
    """The events of one group together."""

    key: GroupKey
    customer: str = ""
    event_count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    measured: dict[str, Decimal] = field(default_factory=dict)
    cost: Decimal = ZERO  # Of the events whose cost is known.
    unknown_count: int = 0
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None
    last_id: uuid.UUID | None = None

    def add(self, seen: Seen) -> None:
        """Add an event."""
        usage = seen.usage
        self.customer = seen.customer
        self.event_count += 1
        self.kinds[usage.event_type] += 1
        for name, value in usage.measurements.items():
            self.measured[name] = self.measured.get(name, ZERO) + value
        if usage.cost is None:
            self.unknown_count += 1
        else:
            self.cost += usage.cost
        at = usage.occurred_at
        self.first_at = at if self.first_at is None else min(self.first_at, at)
        if self.last_at is None or at >= self.last_at:
            self.last_at, self.last_id = at, seen.id

    @property
    def known_cost(self) -> Decimal | None:
        """The cost; None when that of no event is known."""
        return None if self.unknown_count >= self.event_count else self.cost

    @property
    def cost_note(self) -> str:
        """What the cost lacks."""
        if not self.unknown_count:
            return ""
        noun = "event has" if self.unknown_count == 1 else "events have"
        return f"{self.unknown_count:,} {noun} no known cost"

    @property
    def pieces(self) -> str:
        """The events by type: 1 doc.parsed, 2 llm.completion."""
        kinds = self.kinds.most_common()
        return ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds))

    @property
    def meters(self) -> str:
        """What was measured: 18,204 tokens, 3 tool calls."""
        return summed(self.measured)

    @property
    def event_url(self) -> str:
        """The address of its latest event, which shows all of them."""
        return f"/events/{ids.public('evt', self.last_id)}" if self.last_id else ""

    @property
    def customer_id(self) -> str:
        """The customer's id as addresses have it."""
        return ids.public("cus", self.key.customer_id)


def read(statement: str, currency: str, **parameters: Any) -> list[Seen]:
    """Return the events of a statement of COLUMNS with their cost in a currency."""
    found = rows(statement, **parameters)
    rates = fx.Rates({row[10] for row in found})
    return [
        Seen(rated.event(row, rates, currency), *row[rated.WIDTH :]) for row in found
    ]


def whole(keys: Iterable[GroupKey], by: Grouping, currency: str) -> list[Seen]:
    """Return all events of groups that count, at most WHOLE_MAX; one statement."""
    wanted = sorted({key for key in keys if key.name})
    if not wanted:
        return []
    return read(
        WHOLE.format(column=BY_COLUMN[by]),
        currency,
        customers=[key.customer_id for key in wanted],
        names=[key.name for key in wanted],
        most=WHOLE_MAX,
    )


def works(
    keys: Sequence[GroupKey], by: Grouping, currency: str
) -> dict[GroupKey, Work]:
    """Return what is underneath outcomes: their groups, whole; one statement."""
    found: dict[GroupKey, Work] = {}
    for seen in whole(keys, by, currency):
        key = seen.key(by)
        if key not in found:
            found[key] = Work(key)
        found[key].add(seen)
    return found
