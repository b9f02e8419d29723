"""What usage costs the seller, at the rates that were true at its time."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from aforo.lib import sql
from aforo.lib.money import ZERO, plain, q12

# The first named source that has a rate at the time wins.
SOURCES = {"contract": 0, "manual": 1, "invoice": 2, "library": 3}
# Subsets of input_tokens that are priced apart; the rest is input_uncached_tokens.
INPUT_LEAVES = ("cache_read_tokens", "cache_write_tokens")
TOOL = "tool"
EVENT = "event"
CALL = "call"


class Rate(NamedTuple):
    """One rate of a unit over [valid_from, valid_to)."""

    rank: int  # By source: 0 goes first.
    valid_from: dt.datetime
    valid_to: dt.datetime | None
    amount: Decimal
    currency: str
    # For the line of a cost: the amount and the rate's id as texts.
    texts: tuple[str, str]


class Cost(NamedTuple):
    """What an event cost; amount None says that it is not known, and why."""

    amount: Decimal | None
    currency: str
    # Per leaf, as texts: unit, quantity, rate, amount, id of the rate.
    lines: list[list[str]]
    provider: str
    unknown: str


@dataclass(slots=True)
class CostBook:
    """The rates of one tenant: its own and the library's, by (model, unit)."""

    rates: dict[tuple[str, str], list[Rate]] = field(default_factory=dict)
    providers: dict[str, str] = field(default_factory=dict)

    def rate(self, model: str, unit: str, at: dt.datetime) -> Rate | None:
        """Return the rate of a unit at an instant; None when it is not known."""
        best: Rate | None = None
        for rate in self.rates.get((model, unit), ()):
            if rate.valid_from > at or (rate.valid_to and rate.valid_to <= at):
                continue
            if best is None or (rate.rank, best.valid_from) < (
                best.rank,
                rate.valid_from,
            ):
                best = rate
        return best

    def has_tool(self, name: str) -> bool:
        """Tell whether calls of a tool of this name have a rate, at any time."""
        return (name, f"{TOOL}.{CALL}") in self.rates

    def cost(
        self,
        *,
        event_type: str,
        model: str,
        tool: str,
        measurements: Mapping[str, Decimal],
        at: dt.datetime,
    ) -> Cost:
        """Return the cost of one event.

        Tokens cost by model, a tool call by tool; what has neither costs by its
        event type. A leaf without rate makes the whole cost unknown, never 0.
        """
        wanted: list[tuple[str, str, Decimal]] = []
        if model:
            wanted += [(model, u, q) for u, q in token_leaves(measurements)]
        if tool:
            wanted.append((tool, f"{TOOL}.{CALL}", Decimal(1)))
        if not wanted:
            wanted.append((event_type, f"{EVENT}.{CALL}", Decimal(1)))
        lines: list[list[str]] = []
        missing: list[str] = []
        total, currency = ZERO, ""
        for name, unit, quantity in wanted:
            rate = self.rate(name, unit, at)
            if rate is None:
                missing.append(f"{name} {unit}")
                continue
            if currency and rate.currency != currency:
                missing.append(f"{name} {unit} is in {rate.currency}")
                continue
            currency = rate.currency
            amount = q12(quantity * rate.amount)
            total += amount
            price, rate_id = rate.texts
            lines.append([unit, plain(quantity), price, plain(amount), rate_id])
        provider = self.providers.get(model or tool or event_type, "")
        if missing:
            unknown = ("no rate for " + ", ".join(missing))[:200]
            return Cost(None, currency or "USD", lines, provider, unknown)
        return Cost(total, currency, lines, provider, "")


def token_leaves(measurements: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    """Return the disjoint leaves of token measurements, those above zero.

    input_tokens and output_tokens are inclusive totals, the cache figures subsets of
    the input; reasoning tokens are output and cost the same.
    """
    total = measurements.get("input_tokens", ZERO)
    found = []
    for leaf in INPUT_LEAVES:
        quantity = measurements.get(leaf, ZERO)
        if quantity:
            found.append((leaf, quantity))
            total -= quantity
    if total > 0:
        found.append(("input_uncached_tokens", total))
    output = measurements.get("output_tokens", ZERO)
    if output:
        found.append(("output_tokens", output))
    return found


BOOK = """
SELECT tenant_id, provider, model, unit, source, valid_from, valid_to, amount,
  currency, id
FROM catalog_costrate
WHERE superseded_at IS NULL AND (tenant_id IS NULL OR tenant_id = ANY(%b))
"""
VERSION = """
SELECT count(*), max(recorded_at), max(superseded_at) FROM catalog_costrate
"""
_books: dict[uuid.UUID, tuple[object, CostBook]] = {}


def load(tenant_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, CostBook]:
    """Return the cost books of tenants; kept until any rate changes."""
    wanted = list(set(tenant_ids))
    with sql.cursor() as cursor:
        version = cursor.execute(VERSION).fetchone()
        stale = [t for t in wanted if t not in _books or _books[t][0] != version]
        rows = cursor.execute(BOOK, [stale]).fetchall() if stale else []
    for tenant in stale:
        _books[tenant] = (version, CostBook())
    for owner, provider, model, unit, source, since, until, amount, money, key in rows:
        texts = plain(amount), str(key)
        rate = Rate(SOURCES[source], since, until, amount, money, texts)
        for tenant in stale if owner is None else [owner]:
            book = _books[tenant][1]
            book.rates.setdefault((model, unit), []).append(rate)
            book.providers.setdefault(model, provider)
    return {tenant: _books[tenant][1] for tenant in wanted}
