"""Backtests as the simulator's pages show them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from aforo.lib import sql
from aforo.lib.money import ZERO
from metering.backtest_figures import Change, changes
from metering.models import Backtest, BacktestRow

FLAGS = {"shock": "Bill rises over 20 %", "turned": "Turns unprofitable"}
LEFT_OUT = {
    "no_subscription": "no subscription in that month",
    "not_over": "the month is not over in its time zone",
}
NO_BILL = "billed in another currency"


def recent() -> QuerySet[Backtest]:
    """Return backtests with who asked for them."""
    return Backtest.objects.select_related("requested_by", "product").defer(
        "result", "plans"
    )


@dataclass(frozen=True, slots=True)
class PlanTotal:
    """One plan over all customers."""

    letter: str
    label: str
    state: str
    old: Decimal
    new: Decimal
    difference: Decimal
    ratio: Decimal | None
    margin: Decimal | None
    p5: Decimal | None
    p50: Decimal | None
    p95: Decimal | None
    breakeven: Decimal | None
    fees: Decimal
    usage: Decimal
    incomparable: int
    unprofitable: int
    turned: int
    shocks: int


def totals(found: Backtest) -> list[PlanTotal]:
    """Return the plans of a finished backtest with their sums."""
    if found.result is None:
        return []
    return [
        PlanTotal(
            letter="ABCD"[index],
            label=plan["label"],
            state=plan["state"],
            old=Decimal(told["old"]),
            new=Decimal(told["new"]),
            difference=Decimal(told["difference"]),
            ratio=_number(told["ratio"]),
            margin=_number(told["margin"]),
            p5=_number(told["margins"]["p5"]),
            p50=_number(told["margins"]["p50"]),
            p95=_number(told["margins"]["p95"]),
            breakeven=_number(told["breakeven"]),
            fees=Decimal(told["fees"]),
            usage=Decimal(told["usage"]),
            incomparable=told["incomparable"],
            unprofitable=told["unprofitable"],
            turned=told["turned"],
            shocks=told["shocks"],
        )
        for index, (plan, told) in enumerate(
            zip(found.plans, found.result["plans"], strict=True)
        )
    ]


def _number(text: str | None) -> Decimal | None:
    """Return the number, if there is one."""
    return None if text is None else Decimal(text)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill, with its steps in words."""

    name: str
    unit: str
    quantity: Decimal
    amount: Decimal
    steps: list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One customer of a finished backtest."""

    row: BacktestRow
    left_out: str  # Why it was not priced; empty when it was.
    event_count: int
    cost: Decimal
    unknown_count: int
    old: Decimal | None
    changes: list[Change]
    flags: list[str]

    @property
    def unknown_note(self) -> str:
        """How many events have no known cost, if any."""
        return f"{self.unknown_count:,} unknown" if self.unknown_count else ""

    @property
    def bills(self) -> list[tuple[str, list[Line]]]:
        """The lines under each plan, by the plan's letter; the old bill's first."""
        figures = self.row.figures or {}
        found = []
        if figures.get("old"):
            found.append(("Billed", _lines(figures["old"])))
        for letter, bill in zip("ABCD", figures.get("new", ()), strict=False):
            found.append((f"Plan {letter}", _lines(bill)))
        return found


def _lines(bill: dict[str, Any]) -> list[Line]:
    """Return the lines of a kept bill."""
    return [
        Line(
            line["name"],
            line["unit"],
            Decimal(line["quantity"]),
            Decimal(line["amount"]),
            line["steps"],
        )
        for line in bill["lines"]
    ]


def rows_of(found: Backtest, flag: str) -> QuerySet[BacktestRow]:
    """Return the customers of a backtest, only those with a flag if one is named."""
    rows = BacktestRow.objects.filter(backtest=found).select_related("customer")
    return rows.filter(figures__flags__contains=[flag]) if flag in FLAGS else rows


def shown(row: BacktestRow) -> Row:
    """Return a customer as the page and its CSV show it."""
    figures = row.figures or {}
    old = figures.get("old")
    reason = figures.get("left_out", "")
    return Row(
        row,
        LEFT_OUT.get(reason, reason),
        figures.get("events", 0),
        Decimal(figures.get("cost", "0")),
        figures.get("unknown", 0),
        None if old is None else Decimal(old["amount"]),
        changes(figures) if figures else [],
        [FLAGS[flag] for flag in figures.get("flags", ())],
    )


def csv_head(found: Backtest) -> list[str]:
    """Return the columns of the CSV."""
    head = ["customer_id", "customer", "left_out", "events", "events_without_cost"]
    head += ["currency", "cost", "billed", "flags"]
    for index, _ in enumerate(found.plans):
        letter = "abcd"[index]
        names = ("bill", "difference", "change_ratio", "margin_ratio", "fees")
        head += [f"plan_{letter}_{name}" for name in names]
    return head


def csv_row(row: Row, currency: str) -> list[Any]:
    """Return a customer as a CSV row."""
    customer = row.row.customer
    cells: list[Any] = [customer.public_id, customer.name, row.left_out]
    if row.left_out:
        return cells
    cells += [row.event_count, row.unknown_count, currency, row.cost, row.old]
    cells.append("; ".join(row.flags))
    for change in row.changes:
        cells += [change.new, change.difference, change.ratio, change.margin]
        cells.append(change.fees)
    return cells


SUMS = """
SELECT sum((bill.value->>'amount')::numeric)
FROM metering_backtestrow r,
  jsonb_array_elements(r.figures->'new') WITH ORDINALITY AS bill (value, place)
WHERE r.backtest_id = %b GROUP BY bill.place ORDER BY bill.place
"""


def sums_hold(found: Backtest) -> bool:
    """Tell whether the totals of every plan are the sum of all rows."""
    if found.result is None:
        return False
    with sql.cursor() as cursor:
        sums = [row[0] for row in cursor.execute(SUMS, [found.pk])]
    told = [Decimal(plan["new"]) for plan in found.result["plans"]]
    return (sums or [ZERO] * len(told)) == told


def customers_of(found: Backtest) -> list[uuid.UUID]:
    """Return the customers that a backtest is about."""
    rows = BacktestRow.objects.filter(backtest=found)
    return list(rows.order_by("pk").values_list("customer_id", flat=True))
