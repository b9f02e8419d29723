"""A form for each charge model: its parameters, and how they are read and written.

To give a further charge model a form, add it to MODELS: with parameters alone when
the JSON is flat or holds lists of flat objects, with `reader`, `writer` and a template
of its own otherwise. A parameter of kind `rows` is a table: see params.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from portal.composer import rows
from portal.composer.dimensions import PARAMS as DIMENSION_PARAMS
from portal.composer.dimensions import read_dimensions, write_dimensions
from portal.composer.numbers import clean
from portal.composer.outcomes import PARAMS as OUTCOME_PARAMS
from portal.composer.outcomes import read_compound, write_compound
from portal.composer.params import Column, Param
from portal.composer.recipe_form import PARAMS as RECIPE_PARAMS
from portal.composer.recipe_form import read_recipe, write_recipe
from portal.composer.typed import JSON_MODEL, Price, Tier

PER = (("1", "1 unit"), ("1000", "1,000 units"), ("1000000", "1,000,000 units"))
__all__ = ["MODELS", "Column", "ModelForm", "Param", "read_price", "write_price"]
DUE = (("advance", "When the period opens"), ("arrears", "When the period closes"))


@dataclass(frozen=True, slots=True)
class ModelForm:
    """The form of a charge model."""

    name: str  # As in plan JSON.
    label: str
    hint: str
    use: str  # What it is for, in the list of models.
    params: tuple[Param, ...] = ()
    tiered: bool = False
    inner: str = ""  # The member of the JSON that holds another price.
    inner_label: str = ""
    inner_models: tuple[str, ...] = ()
    metered: bool = True  # It counts a metric that is chosen.
    filtered: bool = True  # It takes conditions.
    off: str = ""  # Why it has no metric, or no conditions either.
    template: str = "portal/composer_price.html"
    reader: Callable[[Mapping[str, Any]], Price | None] | None = None
    writer: Callable[[Price], dict[str, Any]] | None = None

    @property
    def choice(self) -> tuple[str, str]:
        """What the list of models says: the label and what the model is for."""
        return self.name, f"{self.label}: {self.use}"

    def read(self, data: Mapping[str, Any]) -> Price | None:
        """Return the JSON as texts; None when the form cannot show all of it."""
        return self.reader(data) if self.reader else _read(self, data)

    def write(self, price: Price) -> dict[str, Any]:
        """Return the texts as JSON."""
        return self.writer(price) if self.writer else _write(self, price)

    def start(self, before: Price | None = None) -> Price:
        """Return a new price of the model that keeps what fits of another."""
        old = before.values if before else {}
        values = {
            p.name: old.get(p.name) or p.start
            for p in self.params
            if p.name != "per" and p.kind != "rows"
        }
        if any(p.name == "per" for p in self.params):
            values["per"] = old.get("per") or "1"
        kept = before.rows if before else {}
        price = Price(self.name, values)
        price.rows = {
            p.name: rows.settled(p, kept.get(p.name, []))
            for p in self.params
            if p.kind == "rows"
        }
        if self.tiered:
            single = Tier(unit_amount=old.get("unit_amount", ""))
            price.tiers = list(before.tiers) if before and before.tiers else [single]
        elif "unit_amount" in values and before and before.tiers:
            price.values["unit_amount"] = before.tiers[0].unit_amount
        if self.inner:
            inner = before.inner if before else None
            if inner is None and before and before.model in self.inner_models:
                inner = before
            name = inner.model if inner else ""
            name = name if name in self.inner_models else self.inner_models[0]
            price.inner = MODELS[name].start(inner)
            if self.name == "package":
                price.inner.values["per"] = "1"  # Packages are priced one by one.
        return price


def _read(form: ModelForm, data: Mapping[str, Any]) -> Price | None:
    """Return flat JSON as texts, tiers and inner price included."""
    known = {"model", *(p.name for p in form.params)}
    known |= {"tiers"} if form.tiered else set()
    known |= {form.inner} if form.inner else set()
    if set(data) - known:
        return None
    values = {
        p.name: p.start if data.get(p.name) is None else str(data[p.name])
        for p in form.params
        if p.kind != "rows"
    }
    price = Price(form.name, values)
    for param in form.params:
        if param.kind == "rows":
            table = rows.read_list(param, data.get(param.name))
            if table is None:
                return None
            price.rows[param.name] = table
    if form.tiered:
        tiers = data.get("tiers")
        if not isinstance(tiers, list) or not all(
            isinstance(tier, Mapping) for tier in tiers
        ):
            return None
        price.tiers = [
            Tier(*(_text(tier.get(name)) for name in Tier.__slots__)) for tier in tiers
        ]
    if form.inner:
        price.inner = read_price(data.get(form.inner))
        if price.inner.model not in form.inner_models:
            return None
    return price


def _text(value: Any) -> str:
    """Return a member of a tier as text; null is an empty box."""
    return "" if value is None else str(value)


def _write(form: ModelForm, price: Price) -> dict[str, Any]:
    """Return texts as flat JSON; what is blank and optional is left out."""
    row: dict[str, Any] = {"model": form.name}
    for param in form.params:
        if param.kind == "rows":
            table = rows.write_list(param, price.rows.get(param.name, []))
            if table or not param.optional:
                row[param.name] = table
            continue
        text = clean(price.values.get(param.name, ""))
        if param.name == "per":
            if text != "1":
                row["per"] = int(text) if text in dict(PER) else text
        elif text or not param.optional:
            whole = param.kind == "count" and text.isascii() and text.isdecimal()
            row[param.name] = int(text) if whole and len(text) <= 20 else text
    if form.tiered:
        last = len(price.tiers) - 1
        row["tiers"] = [_tier(t, n == last) for n, t in enumerate(price.tiers)]
    if form.inner and price.inner is not None:
        row[form.inner] = write_price(price.inner)
    return row


def _tier(tier: Tier, is_last: bool) -> dict[str, Any]:
    """Return a row of the tier table; the last one has no end."""
    row: dict[str, Any] = {
        "up_to": None if is_last else clean(tier.up_to),
        "unit_amount": clean(tier.unit_amount),
    }
    if tier.flat_amount.strip() and clean(tier.flat_amount) != "0":
        row["flat_amount"] = clean(tier.flat_amount)
    return row


def _read_package(data: Mapping[str, Any]) -> Price | None:
    """Return packages at an amount each, or at a tiered price each."""
    if set(data) - {"model", "size", "amount", "price"}:
        return None
    values = {"size": _text(data.get("size"))}
    if "price" not in data:
        each = {"unit_amount": _text(data.get("amount")), "per": "1"}
        return Price("package", values, inner=Price("per_unit", each))
    inner = read_price(data["price"])
    if "amount" in data or inner.model not in MODELS["package"].inner_models:
        return None
    return Price("package", values, inner=inner)


def _write_package(price: Price) -> dict[str, Any]:
    """Return packages as JSON; one price for all of them is their amount."""
    row: dict[str, Any] = {"model": "package", "size": clean(price.values["size"])}
    inner = price.inner
    if inner is None or inner.model == "per_unit":
        amount = inner.values.get("unit_amount", "") if inner else ""
        return {**row, "amount": clean(amount)}
    return {**row, "price": {**write_price(inner)}}


_PER = Param("per", "Prices are for", "choice", choices=PER, start="1")
_FORMS = (
    ModelForm(
        "per_unit",
        "Per unit",
        "One price for every unit.",
        "the same price for every unit",
        (Param("unit_amount", "Price", "price"), _PER),
    ),
    ModelForm(
        "graduated",
        "Graduated",
        "Each unit at the price of the tier that it falls into.",
        "later units get another price",
        (_PER,),
        tiered=True,
    ),
    ModelForm(
        "volume",
        "Volume",
        "All units at the price of the tier that the whole quantity reaches.",
        "the whole quantity gets one price, by its size",
        (_PER,),
        tiered=True,
    ),
    ModelForm(
        "included",
        "Included quota",
        "Units that are free; another model prices what goes beyond.",
        "some units are free, the rest is priced",
        (Param("units", "Included units", "quantity", positive=True),),
        inner="overage",
        inner_label="Beyond the quota",
        inner_models=("per_unit", "graduated", "volume", "package", "percentage"),
    ),
    ModelForm(
        "package",
        "Package",
        "Units sold in whole packages; a started one counts.",
        "units sold by the hundred or thousand",
        (Param("size", "Units in a package", "quantity", positive=True),),
        inner="price",
        inner_label="Price of packages",
        inner_models=("per_unit", "graduated", "volume"),
        reader=_read_package,
        writer=_write_package,
    ),
    ModelForm(
        "percentage",
        "Percentage",
        "A share of a sum of money, such as our cost.",
        "a share of money, such as cost plus 30 %",
        (
            Param("rate", "Rate in %", "rate", hint="130 bills cost plus 30 %."),
            Param("fixed_amount", "Fixed fee per event", "price", optional=True),
            Param("minimum", "Minimum per event", "price", optional=True),
            Param("maximum", "Maximum per event", "price", optional=True),
            Param("free_events", "Free events", "count", optional=True),
            Param(
                "free_amount", "Free amount", "quantity", optional=True, positive=True
            ),
        ),
    ),
    ModelForm(
        "flat",
        "Flat",
        "A fixed amount per period; it counts nothing.",
        "a fixed fee each period, whatever is used",
        (
            Param("amount", "Amount", "price"),
            Param("due", "Posted", "choice", choices=DUE, start="advance"),
        ),
        metered=False,
        filtered=False,
        off="a flat amount counts nothing",
    ),
    ModelForm(
        "dimensions",
        "Dimensions",
        "Rates by tool, tokens, duration and session that are multiplied together.",
        "rates by tool, tokens, time and session in one charge",
        DIMENSION_PARAMS,
        metered=False,
        off="each rate names what it counts",
        reader=read_dimensions,
        writer=write_dimensions,
    ),
    ModelForm(
        "compound",
        "Outcome",
        "One price for what many metered events achieve together.",
        "one price for a result, such as a solved case",
        OUTCOME_PARAMS,
        inner="price",
        inner_label="Price of an outcome",
        inner_models=("per_unit", "graduated", "volume", "package", "included"),
        metered=False,
        off="an outcome is counted by its events",
        reader=lambda data: read_compound(data, read_price),
        writer=lambda price: write_compound(
            price, write_price(price.inner) if price.inner else {}
        ),
    ),
    ModelForm(
        "recipe",
        "Recipe",
        "Meters of an event become units, such as credits, and units have the price.",
        "usage becomes credits, and credits have a price",
        RECIPE_PARAMS,
        inner="price",
        inner_label="Price of a unit",
        inner_models=("per_unit", "graduated", "volume", "package", "included"),
        metered=False,
        off="a recipe names its meters itself",
        reader=lambda data: read_recipe(data, read_price),
        writer=lambda price: write_recipe(
            price, write_price(price.inner) if price.inner else {}
        ),
    ),
)
MODELS: dict[str, ModelForm] = {form.name: form for form in _FORMS}


def read_price(data: Any) -> Price:
    """Return a price as texts; one that has no form here as JSON."""
    model = data.get("model") if isinstance(data, Mapping) else None
    form = MODELS.get(model) if isinstance(model, str) else None
    price = form.read(data) if form else None
    if price is None:
        text = json.dumps(data if data is not None else {}, indent=2)
        return Price(JSON_MODEL, {"json": text})
    return price


def write_price(price: Price) -> Any:
    """Return the plan JSON of a price; what is no JSON stays a text."""
    if price.model in MODELS:
        return MODELS[price.model].write(price)
    try:
        return json.loads(price.values.get("json", ""))
    except ValueError:
        return price.values.get("json", "")
