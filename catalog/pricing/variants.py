"""Terms of one contract: a plan in a further currency, with prices of its own.

Both are said in plan JSON, charge by charge: the members that are given replace the
plan's, and what comes of it is read by the same parser. So a variant is an ordinary
plan, and a refusal names the member that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aforo.lib.money import CURRENCIES
from catalog.pricing.agentic import Dimensions
from catalog.pricing.exact import ONE
from catalog.pricing.level_json import TRIGGERS
from catalog.pricing.merging import (
    BOUNDS,
    WHOLE,
    Json,
    Parse,
    check_keys,
    merged,
    without_markup,
)
from catalog.pricing.plan import Charge, Discount, Level, Plan
from catalog.pricing.reading import PlanError, members, text

CURRENCIES_MAX = 20
# What a further currency says of each charge …
IN_CURRENCY = ("price", "minimum", "maximum")
# … and what one customer may have otherwise.
OWN = ("name", "price", "discount_percent", "minimum", "maximum")


@dataclass(frozen=True, slots=True)
class Own:
    """What one contract has otherwise than its plan; empty: nothing."""

    currency: str = ""  # Empty: the plan's own.
    charges: Mapping[str, Any] = field(default_factory=dict)  # By charge key.
    commitment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the contract is as the plan says."""
        return not (self.currency or self.charges or self.commitment)


def parse_variants(data: object, body: Json, base: Plan, parse: Parse) -> Plan:
    """Return a plan with its further currencies, or raise PlanError.

    `body` is the plan's JSON, of which `base` was read.
    """
    rows = members(data, "currencies", others=True)
    if len(rows) > CURRENCIES_MAX:
        message = f"at most {CURRENCIES_MAX} further currencies"
        raise PlanError("too_many", "currencies", message)
    variants = []
    for currency, said in sorted(rows.items()):
        path = f"currencies.{currency}"
        if currency not in CURRENCIES:
            message = f"{currency[:20]} is no currency"
            raise PlanError("unknown_currency", path, message)
        if currency == base.currency:
            message = f"{currency} is the plan's own currency: its prices are above"
            raise PlanError("duplicate_currency", path, message)
        row = members(said, path, required="charges", optional=" ".join(WHOLE))
        whole = _whole(row, base, currency, path)
        given = members(row["charges"], f"{path}.charges", others=True)
        check_keys(given, base, f"{path}.charges")
        _check_complete(given, base, currency, f"{path}.charges")
        variant = merged(
            {**body, **whole, "currency": currency},
            base,
            given,
            f"{path}.charges",
            allowed=IN_CURRENCY,
            parse=parse,
            whole_path=path,
        )
        _check_alike(base, variant, path)
        variants.append(variant)
    return replace(base, variants=tuple(variants))


def variants_to_json(
    plan: Plan,
    charge_json: Callable[[Charge], Json],
    whole_json: Callable[[Plan], Json],
) -> Json:
    """Return what `parse_variants` reads back: each charge's price by currency."""
    return {
        variant.currency: {
            "charges": dict(_in_currency(plan, variant, charge_json)),
            **dict(_whole_of(plan, variant, whole_json)),
        }
        for variant in plan.variants
    }


def _whole_of(
    plan: Plan, variant: Plan, whole_json: Callable[[Plan], Json]
) -> Iterator[tuple[str, Any]]:
    """Yield what a variant says of the plan as a whole; null takes a bound away."""
    said = whole_json(variant)
    for name in WHOLE:
        if name in said or (name in BOUNDS and getattr(plan, name) is not None):
            yield name, said.get(name)


def _whole(row: Json, base: Plan, currency: str, path: str) -> Json:
    """Return the members of the whole plan that a currency gives.

    Refuses a currency that leaves out an amount which the plan has in its own.
    """
    amounts = {name: getattr(base, name) is not None for name in BOUNDS}
    amounts["discounts"] = any(one.amount is not None for one in base.discounts)
    amounts["levels"] = any(
        one.spend_from is not None or one.credits_from is not None
        for one in base.levels
    )
    for name, is_needed in amounts.items():
        if is_needed and name not in row:
            message = f"no {name} in {currency}: give it" + (
                ", or null for none" if name in BOUNDS else ""
            )
            raise PlanError("missing_price", f"{path}.{name}", message)
    return {name: row[name] for name in WHOLE if name in row}


def _check_alike(base: Plan, variant: Plan, path: str) -> None:
    """Refuse a currency that differs in more than amounts."""
    for name, kind in (("discounts", Discount), ("levels", Level)):
        shapes = [
            [_shape(one) for one in getattr(plan, name)] for plan in (base, variant)
        ]
        if shapes[0] != shapes[1]:
            message = (
                f"{kind.__name__.lower()}s are the plan's in every currency: only"
                " their amounts differ"
            )
            raise PlanError("another_shape", f"{path}.{name}", message)


def _shape(one: Discount | Level) -> Discount | Level:
    """Return a discount or level with every amount the same."""
    amounts = ("amount",) if isinstance(one, Discount) else TRIGGERS
    said = {name: ONE for name in amounts if getattr(one, name) is not None}
    return replace(one, **said)  # type: ignore[arg-type]


def _in_currency(
    plan: Plan, variant: Plan, charge_json: Callable[[Charge], Json]
) -> Iterator[tuple[str, Json]]:
    """Yield what a variant says of each charge; null where it takes a bound away."""
    for base, charge in zip(plan.charges, variant.charges, strict=True):
        row, old = charge_json(charge), charge_json(base)
        said: dict[str, Any] = {"price": without_markup(row["price"])}
        for name in BOUNDS:
            if name in row or name in old:
                said[name] = row.get(name)
        yield charge.key, said


def effective(
    plan: Plan, own: Own, *, parse: Parse, to_json: Callable[[Plan], Json]
) -> Plan:
    """Return the plan of one contract; raises PlanError for terms that do not fit.

    Its currency first, then the customer's own prices, then the commitment.
    """
    if own.is_empty:
        return plan
    base = in_currency(plan, own.currency or plan.currency)
    if not (own.charges or own.commitment):
        return base
    path = "overrides.charges"
    given = members(own.charges, path, others=True)
    check_keys(given, base, path)
    for key, said in given.items():
        row = members(said, f"{path}.{key}", optional=" ".join(OWN))
        if not row:
            message = "says nothing: give a price, or leave the charge out"
            raise PlanError("empty", f"{path}.{key}", message)
    if given:
        base = merged(to_json(base), base, given, path, allowed=OWN, parse=parse)
    if own.commitment:
        base = _committed(base, own.commitment, parse=parse, to_json=to_json)
    return base


def in_currency(plan: Plan, currency: str) -> Plan:
    """Return the plan in a currency that it is sold in, without its variants.

    Raises PlanError `currency_not_offered` with those that it is sold in.
    """
    for one in (replace(plan, variants=()), *plan.variants):
        if one.currency == currency:
            return one
    message = f"it is not sold in {currency}, but in {', '.join(plan.currencies)}"
    raise PlanError("currency_not_offered", "currency", message)


def fitting(
    plan: Plan, own: Own, *, parse: Parse, to_json: Callable[[Plan], Json]
) -> Own:
    """Return the part of a contract's terms that fits a plan that it is not about."""
    kept: dict[str, Any] = {}
    currency = own.currency if own.currency in plan.currencies else ""

    def fits(some: Own) -> bool:
        try:
            effective(plan, some, parse=parse, to_json=to_json)
        except PlanError:
            return False
        return True

    for key, said in own.charges.items():
        if fits(Own(currency, {key: said})):
            kept[key] = said
    commitment = own.commitment if fits(Own(currency, kept, own.commitment)) else {}
    return Own(currency, kept, commitment)


def committed_charges(plan: Plan) -> list[Charge]:
    """Return the charges of a plan that have a commitment."""
    return [
        charge
        for charge in plan.charges
        if isinstance(charge.model, Dimensions) and charge.model.commitment is not None
    ]


def _committed(
    plan: Plan, commitment: Json, *, parse: Parse, to_json: Callable[[Plan], Json]
) -> Plan:
    """Return a plan whose commitment is replaced by a contract's own."""
    path = "commitment"
    row = members(commitment, path, required="amount price", optional="charge")
    keys = [charge.key for charge in committed_charges(plan)]
    if not keys:
        message = "the plan has no committed charge to which it could belong"
        raise PlanError("no_commitment", path, message)
    key = text(row["charge"], f"{path}.charge", longest=64) if "charge" in row else ""
    if not key and len(keys) > 1:
        message = f"charge is missing: {', '.join(keys)} are committed"
        raise PlanError("missing_key", f"{path}.charge", message)
    if key and key not in keys:
        message = f"{key} is no committed charge; {', '.join(keys)} are"
        raise PlanError("unknown_charge", f"{path}.charge", message)
    body = dict(to_json(plan))
    body["charges"] = [
        {
            **charge,
            "price": {
                **charge["price"],
                "committed_amount": row["amount"],
                "committed_price": row["price"],
            },
        }
        if charge["key"] == (key or keys[0])
        else charge
        for charge in body["charges"]
    ]
    try:
        return parse(body)
    except PlanError as error:
        name = error.path.rpartition("committed_")[2] or "amount"
        raise PlanError(error.code, f"{path}.{name}", error.message) from error


def _check_complete(given: Json, base: Plan, currency: str, path: str) -> None:
    """Refuse a currency in which something of the plan has no price."""
    missing = [charge.key for charge in base.charges if charge.key not in given]
    if missing:
        message = f"no price in {currency} for {', '.join(missing)}"
        raise PlanError("missing_price", path, message)
    for charge in base.charges:
        here = f"{path}.{charge.key}"
        row = members(
            given[charge.key], here, required="price", optional=" ".join(BOUNDS)
        )
        for name in BOUNDS:
            if getattr(charge, name) is not None and name not in row:
                message = f"no {name} in {currency}: give it, or null for none"
                raise PlanError("missing_price", f"{here}.{name}", message)
