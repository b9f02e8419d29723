"""What usage costs the seller, at the rates that were true at its time."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from aforo.core import stamps
from aforo.core.stamps import WORLD, Memory
from aforo.lib import sql
from aforo.lib.money import ZERO, plain, q12
from catalog import cost_names
from catalog.cost_context import Situation, Window, situation, window
from catalog.cost_lines import CostLine, cost_lines, parts_of
from catalog.leaves import (
    CHARGED_COUNTS,
    FALLBACKS,
    TOKEN_PARTS,
    doubtful,
    input_total,
    token_leaves,
)

# The first named source that has a rate at the time wins.
SOURCES = {"contract": 0, "manual": 1, "invoice": 2, "library": 3}
TOOL = "tool"
EVENT = "event"
CALL = "call"
TOOL_CALL = f"{TOOL}.{CALL}"
REQUESTS = "requests"


class Rate(NamedTuple):
    """One rate of a unit over [valid_from, valid_to)."""

    rank: int  # By source: 0 goes first.
    valid_from: dt.datetime
    valid_to: dt.datetime | None
    amount: Decimal
    currency: str
    # For the line of a cost: the price of one unit and the rate's id.
    texts: tuple[str, str]
    per: int = 1  # The amount is that of so many units.
    above: int = 0  # For prompts of more tokens than these, all of them.
    window: Window | None = None
    region: str = ""

    def holds(self, at: dt.datetime, prompt: Decimal) -> bool:
        """Tell whether it is the rate of a call at an instant with such a prompt."""
        return (
            self.valid_from <= at
            and (self.valid_to is None or at < self.valid_to)
            and (not self.above or prompt > self.above)
            and (self.window is None or self.window.active(at))
        )

    @property
    def is_lasting(self) -> bool:
        """Whether it holds at any time from its begin on, whatever the prompt."""
        return self.valid_to is None and not self.above and self.window is None

    def order(self) -> tuple[int, bool, bool, int, float]:
        """Return what sorts the rates of a unit so that the first that holds counts."""
        since = self.valid_from.timestamp()
        return self.rank, not self.region, self.window is None, -self.above, -since


class Entry(NamedTuple):
    """A rate and what it is the rate of."""

    provider: str
    unit: str
    context: str
    own: bool  # The tenant's; else the library's.
    rate: Rate


class Cost(NamedTuple):
    """What an event cost; amount None says that it is not known, and why."""

    amount: Decimal | None
    currency: str
    # Per leaf, one after the other: unit, price of one, id of the rate. The same for
    # most events of a model, so it is stored once (see catalog.cost_lines).
    basis: tuple[str, ...]
    figures: str  # Per leaf quantity and amount, apart by blanks.
    provider: str
    unknown: str

    @property
    def lines(self) -> list[CostLine]:
        """What it is made of, leaf by leaf."""
        return cost_lines(parts_of(self.basis), self.figures)


class Sheet:
    """The rates of one model, tool or event type in one situation, by unit."""

    __slots__ = ("context", "lasting", "name", "provider", "units")

    def __init__(
        self, name: str, provider: str, at: Situation, entries: Iterable[Entry]
    ) -> None:
        self.name, self.provider, self.context = name, provider, at.context
        usual: dict[str, list[Rate]] = {}
        special: dict[str, list[Rate]] = {}
        for entry in entries:
            if entry.rate.region not in ("", at.region):
                continue
            if entry.context == at.context:
                special.setdefault(entry.unit, []).append(entry.rate)
            elif not entry.context and entry.unit not in TOKEN_PARTS:
                # A search in a batch costs as much as any other, unless a rate says.
                usual.setdefault(entry.unit, []).append(entry.rate)
        self.units: dict[str, Sequence[Rate]] = {
            unit: sorted(rates, key=Rate.order)
            for unit, rates in {**usual, **special}.items()
        }
        # Those that hold from their begin on, if nothing goes before them: mostly so.
        self.lasting = {
            unit: rates[0] for unit, rates in self.units.items() if rates[0].is_lasting
        }

    def rate(self, unit: str, at: dt.datetime, prompt: Decimal) -> Rate | None:
        """Return the rate of a unit; None when it is not known."""
        lasting = self.lasting.get(unit)
        if lasting is not None and lasting.valid_from <= at:
            return lasting
        for rate in self.units.get(unit, ()):
            if rate.holds(at, prompt):
                return rate
        for other in FALLBACKS.get(unit, ()):
            if found := self.rate(other, at, prompt):
                return found
        return None


# What is to be paid: of which sheet which unit, and how much.
Wanted = tuple[Sheet, str, Decimal]


@dataclass(slots=True)
class CostBook:
    """The rates of one tenant: its own and the library's, by name."""

    own: dict[str, list[Entry]] = field(default_factory=dict)
    library: dict[str, list[Entry]] = field(default_factory=dict)
    # Looked up once per model and situation; a book is never changed after loading.
    sheets: dict[tuple[str, Situation], Sheet] = field(default_factory=dict)

    def entries(self, name: str) -> list[Entry]:
        """Return all rates of a name."""
        return [*self.own.get(name, ()), *self.library.get(name, ())]

    def has_tool(self, name: str) -> bool:
        """Tell whether calls of a tool of this name have a rate, at any time."""
        for listed in (self.own, self.library):
            for entry in listed.get(name, ()):
                if entry.unit == TOOL_CALL:
                    return True
        return False

    def sheet(self, name: str, at: Situation) -> Sheet:
        """Return the rates of a model, by whatever name it was called."""
        found = self.sheets.get((name, at))
        if found is None:
            if len(self.sheets) > 10_000:  # Names come from outside.
                self.sheets.clear()
            found = self.sheets[name, at] = self._resolve(name, at)
        return found

    def _resolve(self, model: str, at: Situation) -> Sheet:
        """Find the listed model, at the provider that was told or that makes it."""
        other: tuple[str, list[Entry]] | None = None
        for hint, name in cost_names.candidates(model, at.provider):
            entries = self.entries(name)
            if not entries:
                continue
            wanted = at.provider or hint
            here = [e for e in entries if e.provider == wanted]
            if here:
                return Sheet(name, wanted, at, here)
            if not wanted:
                return self._of_maker(name, at, entries)
            other = other or (name, entries)
        if other:
            return self._of_maker(other[0], at, other[1])
        return Sheet(model, at.provider, at, ())

    def _of_maker(self, name: str, at: Situation, entries: list[Entry]) -> Sheet:
        """Return the rates where the provider is not told, or not listed."""
        listed = {e.provider for e in entries if not e.own} or {
            e.provider for e in entries
        }
        provider = min(listed, key=cost_names.home_order)
        chosen = [e for e in entries if e.own or e.provider == provider]
        return Sheet(name, provider, at, chosen)

    def exact(self, name: str) -> Sheet:
        """Return the rates of a tool or an event type."""
        usual = Situation(provider=EVENT)
        found = self.sheets.get((f"\0{name}", usual))
        if found is None:
            entries = self.entries(name)
            provider = entries[0].provider if entries else ""
            found = Sheet(name, provider, Situation(), entries)
            self.sheets[f"\0{name}", usual] = found
        return found

    def cost(
        self,
        *,
        event_type: str,
        model: str,
        tool: str,
        measurements: Mapping[str, Decimal],
        at: dt.datetime,
        properties: Mapping[str, str] | None = None,
    ) -> Cost:
        """Return the cost of one event.

        Tokens cost by model, a tool call by tool; what has neither costs by its
        event type. A leaf without rate makes the whole cost unknown, never 0.
        """
        wanted: list[Wanted] = []
        doubt = ""
        if model:
            sheet = self.sheet(model, situation(properties or {}))
            wanted = model_parts(sheet, measurements)
            doubt = doubtful(measurements, sheet.units)
        if tool:
            wanted += call_parts(self.exact(tool), TOOL, measurements)
        if not wanted:
            wanted = call_parts(self.exact(event_type), EVENT, measurements)
        return add_up(wanted, at, input_total(measurements), doubt)


def model_parts(sheet: Sheet, measurements: Mapping[str, Decimal]) -> list[Wanted]:
    """Return what is to be paid for a call of a model."""
    units = sheet.units
    wanted = [(sheet, u, q) for u, q in token_leaves(measurements, units)]
    for unit, quantity in measurements.items():
        if unit in TOKEN_PARTS or unit == REQUESTS or not quantity:
            continue
        if unit in units or unit in CHARGED_COUNTS:
            wanted.append((sheet, unit, quantity))
    if REQUESTS in units:
        wanted.append((sheet, REQUESTS, Decimal(1)))
    return wanted


def call_parts(
    sheet: Sheet, kind: str, measurements: Mapping[str, Decimal]
) -> list[Wanted]:
    """Return what is to be paid for a call of a tool, or an event of a type.

    Infrastructure may cost by what was measured: seconds, lookups, gigabytes.
    """
    units, call = sheet.units, f"{kind}.{CALL}"
    wanted = [(sheet, u, q) for u, q in measurements.items() if u in units and q]
    measured = any(unit != call for unit in units)
    if call in units or not measured:
        wanted.append((sheet, call, Decimal(1)))
    return wanted


def add_up(
    wanted: Sequence[Wanted], at: dt.datetime, prompt: Decimal, doubt: str
) -> Cost:
    """Return the cost of parts at an instant; unknown when one of them is."""
    basis: list[str] = []
    figures: list[str] = []
    missing: list[str] = []
    total, currency, provider = ZERO, "", ""
    for sheet, unit, quantity in wanted:
        provider = provider or sheet.provider
        rate = sheet.rate(unit, at, prompt)
        if rate is None:
            context = f" ({sheet.context})" if sheet.context else ""
            missing.append(f"{sheet.name} {unit}{context}")
            continue
        if currency and rate.currency != currency:
            missing.append(f"{sheet.name} {unit} is in {rate.currency}")
            continue
        currency = rate.currency
        amount = quantity * rate.amount
        amount = q12(amount if rate.per == 1 else amount / rate.per)
        total += amount
        price, rate_id = rate.texts
        basis += (unit, price, rate_id)
        figures.append(f"{plain(quantity)} {plain(amount)}")
    said = tuple(basis), " ".join(figures)
    if missing or doubt:
        unknown = "no rate for " + ", ".join(missing) if missing else f"unknown {doubt}"
        return Cost(None, currency or "USD", *said, provider, unknown[:200])
    return Cost(total, currency or "USD", *said, provider, "")


BOOK = """
SELECT tenant_id, provider, model, unit, context, source, valid_from, valid_to, amount,
  currency, per, above_tokens, hours, region, id
FROM catalog_costrate
WHERE superseded_at IS NULL AND tenant_id {which}
"""
_library: Memory[dict[str, list[Entry]]] = Memory(1)


def load(tenant_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, CostBook]:
    """Return the cost books of tenants, as the rates are now.

    The library is remembered until it changes; a tenant's own rates are few, and
    rating remembers them with the rest of the tenant (metering.enrichment).
    """
    wanted = list(set(tenant_ids))
    stamp = stamps.read([WORLD])
    library = stamps.remembered(_library, stamp, _read_library)[WORLD]
    with sql.cursor() as cursor:
        rows = cursor.execute(BOOK.format(which="= ANY(%b)"), [wanted]).fetchall()
    owned: dict[uuid.UUID, list[Sequence[Any]]] = {tenant: [] for tenant in wanted}
    for row in rows:
        owned[row[0]].append(row)
    return {
        tenant: CostBook(_by_name(own, own=True), library)
        for tenant, own in owned.items()
    }


def _read_library(_: object) -> dict[uuid.UUID, dict[str, list[Entry]]]:
    """Return the rates of the public price list, which belong to no tenant."""
    with sql.cursor() as cursor:
        rows = cursor.execute(BOOK.format(which="IS NULL")).fetchall()
    return {WORLD: _by_name(rows, own=False)}


def _by_name(rows: Iterable[Sequence[Any]], *, own: bool) -> dict[str, list[Entry]]:
    """Return rows of BOOK as entries by their model's name."""
    found: dict[str, list[Entry]] = {}
    for row in rows:
        _, provider, model, unit, context, source, since, until, amount, money = row[
            :10
        ]
        per, above, hours, region, key = row[10:]
        each = amount if per == 1 else q12(amount / per)
        rate = Rate(
            SOURCES[source],
            since,
            until,
            amount,
            money,
            (plain(each), str(key)),
            per,
            above,
            window(hours),
            region,
        )
        entry = Entry(provider, unit, context, own, rate)
        found.setdefault(model, []).append(entry)
    return found
