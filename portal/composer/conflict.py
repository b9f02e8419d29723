"""Two versions of one draft side by side, charge by charge, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from catalog.describe import describe
from catalog.models import Metric, PlanVersion
from catalog.ownership import MARKUP, is_recipe
from catalog.plans import metric_json
from catalog.pricing import PlanError, parse_plan
from portal.composer.bodies import to_body
from portal.composer.typed import Typed

# Members of plan JSON beside the charges, as people call them.
TERMS = {
    "minimum": "minimum spend",
    "maximum": "maximum spend",
    "discounts": "discounts",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One charge as somebody else saved it and as it is in the form."""

    name: str
    theirs: str  # Empty: not there.
    mine: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """What was saved meanwhile, and by whom."""

    version: PlanVersion | None  # None: the draft was removed.
    detail: str
    revision: int
    sides: list[Side]
    others: list[str]  # What else differs.


def compare(
    detail: str,
    theirs: PlanVersion | None,
    mine: Typed,
    metrics: Mapping[str, Metric],
) -> Conflict:
    """Return where the form differs from what somebody else saved."""
    body = to_body(mine)
    theirs_body = theirs.body if theirs else {"currency": mine.currency, "charges": []}
    a, b = _by_key(theirs_body), _by_key(body)
    sides = []
    for key in [*a, *(key for key in b if key not in a)]:
        left = _words(a.get(key), str(theirs_body.get("currency")), metrics)
        right = _words(b.get(key), mine.currency, metrics)
        if left != right:
            row = b.get(key) or a[key]
            sides.append(Side(str(row.get("name") or key), left, right))
    others = []
    if list(a) != list(b) and set(a) == set(b):
        others.append("order of charges")
    for name, said in TERMS.items():
        if theirs_body.get(name) != body.get(name):
            others.append(said)
    if theirs is not None:
        if theirs.currency != mine.currency:
            others.append("currency")
        if theirs_body.get("levels", []) != body.get("levels", []):
            others.append("spend levels")
        if theirs_body.get("currencies", {}) != body.get("currencies", {}):
            others.append("prices in other currencies")
        if theirs.prorate != mine.prorate:
            others.append("proration")
        if limiting(theirs.limits) != limiting(mine.limits):
            others.append("limits")
    revision = theirs.revision if theirs else 0
    return Conflict(theirs, detail, revision, sides, others)


def limiting(limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits without those that limit nothing."""
    return {name: value for name, value in limits.items() if value not in (None, [])}


def _by_key(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the charges of plan JSON by their keys."""
    rows = body.get("charges")
    return {
        str(row.get("key")): dict(row)
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, Mapping)
    }


def _words(
    row: dict[str, Any] | None, currency: str, metrics: Mapping[str, Metric]
) -> str:
    """Return one charge in words; what cannot be read yet as it stands."""
    if row is None:
        return ""
    metric = row.get("metric")
    if isinstance(metric, str) and metric in metrics:
        row = {**row, "metric": metric_json(metrics[metric])}
    try:
        # Alone, without the levels that its conditions may name.
        plan = parse_plan({"currency": currency, "charges": [row]}, published=True)
        return describe(plan) + markup_words(row)
    except PlanError:
        price = row.get("price")
        parts = price.items() if isinstance(price, Mapping) else [("price", price)]
        return f"{row.get('name')} (incomplete): " + ", ".join(
            f"{name} {value}" for name, value in parts
        )


def markup_words(row: Mapping[str, Any]) -> str:
    """Return finance's markup of a recipe, which customers' words leave out."""
    price = row.get("price")
    if not is_recipe(row) or not isinstance(price, Mapping):
        return ""
    markup = price.get(MARKUP)
    said = f"{markup} %" if markup not in (None, "") else "none"
    return f" Finance's markup: {said}."
