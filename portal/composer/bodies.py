"""Plan JSON to the texts of the form, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.composer import levels, term_texts
from portal.composer.currencies import parts, read_currencies, write_currencies
from portal.composer.models import MODELS, read_price, write_price
from portal.composer.numbers import clean
from portal.composer.typed import Charge, Typed, join_values, keys_of, split_values

# A plan with more charges opens with all of them folded.
OPEN_MAX = 3
BOUNDS = ("discount_percent", "minimum", "maximum")


def from_body(
    body: Mapping[str, Any], *, limits: Mapping[str, Any], prorate: bool
) -> Typed:
    """Return plan JSON as the texts of the form."""
    rows = body.get("charges")
    charges = [
        _charge(row, f"c{number}")
        for number, row in enumerate(rows if isinstance(rows, list) else [], start=1)
        if isinstance(row, Mapping)
    ]
    for charge in charges:
        charge.is_open = len(charges) <= OPEN_MAX
    currency = body.get("currency")
    terms = term_texts.from_body(body, {c.key: c.uid for c in charges if c.key})
    typed = Typed(
        str(currency or "USD"),
        charges,
        levels.from_json(body.get("levels")),
        prorate,
        dict(limits),
        terms=terms,
    )
    typed.currencies = read_currencies(body, parts(typed, own_body(typed)))
    return typed


def _charge(row: Mapping[str, Any], uid: str) -> Charge:
    """Return one charge as texts."""
    metric = row.get("metric")
    code = metric.get("key") if isinstance(metric, Mapping) else metric
    conditions = row.get("filter")
    return Charge(
        uid,
        read_price(row.get("price")),
        key=_text(row.get("key")),
        name=_text(row.get("name")),
        unit=_text(row.get("unit")),
        metric=_text(code),
        filters=[
            (
                str(name),
                join_values([str(v) for v in allowed])
                if isinstance(allowed, list)
                else join_values([str(allowed)]),
            )
            for name, allowed in conditions.items()
        ]
        if isinstance(conditions, Mapping)
        else [],
        bounds={name: _text(row.get(name)) for name in BOUNDS},
    )


def _text(value: Any) -> str:
    """Return what stands in a text box for a value of plan JSON."""
    return "" if value is None else str(value)


def to_body(typed: Typed) -> dict[str, Any]:
    """Return the plan JSON of the form, complete or not."""
    body = own_body(typed)
    return body | write_currencies(typed, body)


def own_body(typed: Typed) -> dict[str, Any]:
    """Return the plan JSON of the form in the plan's own currency."""
    keys = keys_of(typed.charges)
    return {
        "currency": typed.currency,
        "charges": [charge_json(c, keys[c.uid]) for c in typed.charges],
        **({"levels": levels.to_json(typed.levels)} if typed.levels else {}),
        **term_texts.to_json(typed.terms, keys),
    }


def charge_json(charge: Charge, key: str) -> dict[str, Any]:
    """Return the plan JSON of one charge, its metric named by its code."""
    row: dict[str, Any] = {"key": key, "name": charge.name.strip()}
    form = MODELS.get(charge.price.model)
    metered = form is None or form.metered
    filtered = form is None or form.filtered
    if charge.unit.strip():
        row["unit"] = charge.unit.strip()
    if charge.metric and metered:
        row["metric"] = charge.metric
    conditions: dict[str, Any] = {}
    for name, text in charge.filters:
        if (name.strip() or text.strip()) and filtered:
            values = split_values(text)
            conditions[name.strip()] = values[0] if len(values) == 1 else values
    if conditions:
        row["filter"] = conditions
    row["price"] = write_price(charge.price)
    for name in BOUNDS:
        if text := clean(charge.bounds.get(name, "")):
            row[name] = text
    return row
