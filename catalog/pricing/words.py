"""A line's steps in words, such as "first 1,000 × $0.01 = $10.00"."""

from __future__ import annotations

from decimal import Decimal

from aforo.lib.money import SYMBOLS, minor_units, plain
from catalog.pricing.exact import ONE, ZERO
from catalog.pricing.lines import Line, Step
from catalog.pricing.recipes import (
    COST,
    MARKUP,
    RAISED,
    ROUNDED,
    is_underneath,
    meter_words,
    units_of_step,
)

# What stands before the kind of a step that takes an outcome back.
REVERSED = "reversed:"
_PER = {Decimal(1_000): "1K", Decimal(1_000_000): "1M"}


def explain(line: Line) -> tuple[str, ...]:
    """Return each step of the line in words, with exact figures."""
    return tuple(explain_step(s, line.currency, unit=line.unit) for s in line.steps)


def explain_step(step: Step, currency: str, *, unit: str = "") -> str:
    """Return one step in words, with exact figures; `unit` is what its line counts.

    A step that says what units are made of has no amount and names none.
    """
    if is_underneath(step.kind):
        return _underneath(step, currency, unit or "units")
    words = _words(step, currency)
    return f"{words} = {money_words(step.amount, currency)}"


def money_words(amount: Decimal, currency: str) -> str:
    """Return an amount to its last digit, at least with the currency's places."""
    symbol = SYMBOLS.get(currency, f"{currency} ")
    sign = "−" if amount < ZERO else ""
    whole, _, fraction = plain(abs(amount)).partition(".")
    fraction = fraction.ljust(minor_units(currency), "0")
    return f"{sign}{symbol}{int(whole):,}{'.' if fraction else ''}{fraction}"


def number_words(value: Decimal) -> str:
    """Return a quantity to its last digit, with thousands apart."""
    sign = "−" if value < ZERO else ""
    whole, dot, fraction = plain(abs(value)).partition(".")
    return f"{sign}{int(whole):,}{dot}{fraction}"


def _words(step: Step, currency: str) -> str:
    """Return how the step's amount comes about."""
    if step.kind.startswith(REVERSED):
        taken = step._replace(kind=step.kind.removeprefix(REVERSED))
        return f"reversed: {_words(taken, currency)}"
    kind, _, window = step.kind.partition("@")
    if window:
        return _windowed(step._replace(kind=kind), window, currency)
    quantity = number_words(step.quantity)
    price = money_words(step.unit_amount, currency)
    match step.kind:
        case "unit" | "tier" | "volume":
            per = f" per {_PER[step.per]}" if step.per in _PER else ""
            return _tier_words(step, currency, noun="", price=f"{price}{per}")
        case "package" | "package_tier" | "package_volume":
            if not step.quantity and not step.flat_amount:
                return f"no further package of {number_words(step.per)}"
            noun = "package" if step.quantity == ONE else "packages"
            noun = f" {noun} of {number_words(step.per)}"
            return _tier_words(step, currency, noun=noun, price=price)
        case "percent":
            base = money_words(step.quantity, currency)
            return f"{plain(step.unit_amount)} % of {base}"
        case "fixed":
            return f"{quantity} × {price} per event"
        case "minimum":
            return f"raised to the minimum of {price} per event"
        case "maximum":
            return f"capped at the maximum of {price} per event"
        case "free":
            return f"{money_words(step.quantity, currency)} free"
        case "included":
            return f"{quantity} of {number_words(step.up_to or ZERO)} included"
        case "flat":
            return "flat amount"
        case "cost_overage":
            base = money_words(step.quantity, currency)
            return f"{plain(step.unit_amount)} % of {base} beyond the cost budget"
        case "charge_discount":
            base = money_words(step.quantity, currency)
            return f"{plain(step.unit_amount)} % off {base}"
        case "charge_maximum":
            return f"capped at {price}"
        case "charge_minimum":
            return f"up to the minimum of {price}"
        case "plan_percent" | "plan_amount" | "plan_maximum" | "plan_minimum":
            return _plan_words(step, currency, price)
        case _:
            return _dimension(step, currency)


def _underneath(step: Step, currency: str, unit: str) -> str:
    """Return what of a recipe's units a step stands for."""
    quantity = number_words(step.quantity)
    price = number_words(step.unit_amount)
    match step.kind:
        case k if k == MARKUP:
            words = f"{price} % markup on {quantity}"
        case k if k == ROUNDED:
            words = "rounding each event"
        case k if k == RAISED:
            words = f"raised to the minimum of {price} per event"
        case _:
            cost = step.kind == COST
            name = meter_words("" if cost else step.kind.partition(":")[2])
            used = money_words(step.quantity, currency) if cost else quantity
            per = f" per {_PER[step.per]}" if step.per in _PER else ""
            words = f"{used} {name} × {price}{per}"
    return f"{words} → {number_words(units_of_step(step))} {unit}"


def _windowed(step: Step, window: str, currency: str) -> str:
    """Return a step of windows that are priced each by itself, such as days."""
    quantity = number_words(step.quantity)
    price = money_words(step.unit_amount, currency)
    if step.kind == "included":
        size = number_words(step.up_to or ZERO)
        return f"{quantity} of {size} {_one(window)} included"
    if step.kind in ("free", "percent"):
        return f"{_words(step, currency)}, {window} by {window}"
    noun = ""
    if step.kind.startswith("package"):
        noun = " package" if step.quantity == ONE else " packages"
        noun += f" of {number_words(step.per)}"
    elif step.per in _PER:
        price += f" per {_PER[step.per]}"
    where = _place(step, window)
    parts = [f"{quantity}{noun}{where} × {price}"] if step.quantity else []
    if step.flat_amount:
        flat = money_words(step.flat_amount, currency)
        parts.append(f"{flat} flat{'' if parts else where}")
    return " + ".join(parts) or f"0{noun}{where} × {price}"


def _place(step: Step, window: str) -> str:
    """Return which part of a window, or which windows, a step's units are in."""
    if step.kind in ("unit", "package"):
        return f", {window} by {window},"
    floor = f"above {number_words(step.floor)}" if step.floor else ""
    end = "" if step.up_to is None else f"up to {number_words(step.up_to)}"
    if step.kind.endswith("volume"):
        sizes = " ".join(part for part in (floor, end) if part) or "of any size"
        return f" in {window}s {sizes}"
    return f" {floor or end or 'of any number'} in {_one(window)}"


def _one(window: str) -> str:
    """Return one window with its article."""
    return f"{'an' if window in ('hour', 'event') else 'a'} {window}"


def _plan_words(step: Step, currency: str, price: str) -> str:
    """Return a step of what holds for the plan as a whole."""
    base = money_words(step.quantity, currency)
    match step.kind:
        case "plan_percent":
            return f"{plain(step.unit_amount)} % of {base}"
        case "plan_amount":
            return f"up to {price} off {base}"
        case kind:
            return f"{kind.removeprefix('plan_')} spend {price}, {base} used"


def _dimension(step: Step, currency: str) -> str:
    """Return a step of a charge by dimensions."""
    quantity = number_words(step.quantity)
    price = money_words(step.unit_amount, currency)
    kind, _, name = step.kind.partition(":")
    match kind:
        case "tool":
            return f"{quantity} × {price} for {'other tools' if name == '*' else name}"
        case "token":
            measurement, _, tool = name.partition(":")
            what = measurement.replace("_", " ") + (f" of {tool}" if tool else "")
            return f"{quantity} {what} × {price}"
        case "time":
            return f"{quantity} × {price} for duration {int(name) + 1}"
        case "session":
            noun = "session" if step.quantity == ONE else "sessions"
            return f"{quantity} {noun} × {price}"
        case "commitment":
            return f"commitment of {quantity} calls"
        case "drawdown":
            return f"{quantity} of {number_words(step.up_to or ZERO)} committed calls"
        case "overage":
            return f"{quantity} × {price} beyond the commitment"
        case "penalty":
            base = money_words(step.quantity, currency)
            return f"{base} with too many errors × {plain(step.unit_amount)}"
        case "discount":
            base = money_words(step.quantity, currency)
            return f"{plain(step.unit_amount)} % off {base}"
        case _:
            raise AssertionError(step.kind)


def _tier_words(step: Step, currency: str, *, noun: str, price: str) -> str:
    """Return units at a tier's price, with the flat amount for entering it."""
    parts = []
    if step.quantity:
        parts.append(f"{_units(step)}{noun} × {price}")
    if step.flat_amount:
        flat = money_words(step.flat_amount, currency)
        parts.append(f"{flat} flat{_range(step) if not step.quantity else ''}")
    return " + ".join(parts) or f"0{noun} × {price}"


def _units(step: Step) -> str:
    """Return the units of a step and where they lie among the tiers."""
    quantity = number_words(step.quantity)
    if step.kind.endswith("volume"):
        return f"all {quantity}" if step.quantity > ZERO else quantity
    if step.kind in ("unit", "package") or step.quantity < ZERO:
        return quantity
    if step.up_to is not None and step.quantity == step.up_to - step.floor:
        return f"{'next' if step.floor else 'first'} {quantity}"
    if step.floor:
        return f"{quantity} above {number_words(step.floor)}"
    if step.up_to is None:
        return quantity
    return f"{quantity} of the first {number_words(step.up_to)}"


def _range(step: Step) -> str:
    """Return which tier a flat amount belongs to."""
    if step.floor:
        return f" above {number_words(step.floor)}"
    return "" if step.up_to is None else f" up to {number_words(step.up_to)}"
