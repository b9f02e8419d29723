"""A line's steps in words, such as "first 1,000 × $0.01 = $10.00"."""

from __future__ import annotations

from decimal import Decimal

from aforo.lib.money import SYMBOLS, minor_units, plain
from catalog.pricing.exact import ONE, ZERO
from catalog.pricing.lines import Line, Step

_PER = {Decimal(1_000): "1K", Decimal(1_000_000): "1M"}


def explain(line: Line) -> tuple[str, ...]:
    """Return each step of the line in words, with exact figures."""
    return tuple(explain_step(step, line.currency) for step in line.steps)


def explain_step(step: Step, currency: str) -> str:
    """Return one step in words, with exact figures."""
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
