"""Plan JSON to plan: strict, once, at the edge; refusals say what and where."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from aforo.lib.money import CURRENCIES
from catalog.pricing.agentic import Compound, Dimensions, Recipe
from catalog.pricing.compound_json import parse_compound
from catalog.pricing.dimension_json import parse_dimensions
from catalog.pricing.exact import (
    HUNDRED,
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    RATE_LIMIT,
    ZERO,
    places,
)
from catalog.pricing.level_json import check_levels, parse_levels
from catalog.pricing.metric_json import choice, parse_filter, parse_metric
from catalog.pricing.plan import (
    DIMENSIONS_METRIC,
    RECIPE_METRIC,
    Aggregation,
    Charge,
    Due,
    Flat,
    Graduated,
    Included,
    Metric,
    Model,
    Package,
    Percentage,
    PerUnit,
    Plan,
    Tier,
    Volume,
    outcome_metric,
)
from catalog.pricing.reading import (
    PlanError,
    array,
    decimal,
    key,
    members,
    number,
    text,
)
from catalog.pricing.recipe_json import parse_recipe
from catalog.pricing.term_json import MEMBERS as TERM_MEMBERS
from catalog.pricing.term_json import parse_terms
from catalog.pricing.variants import Own, effective, fitting, parse_variants
from catalog.pricing.windows import check_window
from catalog.pricing.writing import plan_to_json

CHARGES_MAX = 500
TIERS_MAX = 100
# The free events of a percentage are kept one by one until the period ends.
FREE_EVENTS_MAX = 1_000
PER = (1, 1_000, 1_000_000)
# A discount multiplies whole amounts: more places would not be exact.
DISCOUNT_PLACES = 4


def parse_plan(data: object, *, published: bool = False) -> Plan:
    """Return the plan that the JSON says, or raise PlanError.

    What was published is not refused for a name that was free then.
    """
    optional = " ".join(("currencies", "levels", *TERM_MEMBERS))
    plan = members(data, "", required="currency charges", optional=optional)
    currency = text(plan["currency"], "currency", longest=3)
    if currency not in CURRENCIES:
        raise PlanError("unknown_currency", "currency", f"{currency} is no currency")
    levels = parse_levels(plan.get("levels", []), "levels")
    rows = array(plan["charges"], "charges", longest=CHARGES_MAX)
    charges = []
    keys: set[str] = set()
    metrics: dict[str, Metric] = {}
    for index, row in enumerate(rows):
        path = f"charges[{index}]"
        charge = _charge(row, path)
        if charge.key in keys:
            message = f"another charge already has the key {charge.key}"
            raise PlanError("duplicate_charge", f"{path}.key", message)
        keys.add(charge.key)
        metric = charge.metric
        if metric and metrics.setdefault(metric.key, metric) != metric:
            message = f"another charge defines the metric {metric.key} differently"
            raise PlanError("metric_conflict", f"{path}.metric", message)
        if levels or not published:
            check_levels(levels, charge, path)
        charges.append(charge)
    terms = parse_terms(plan, [charge.key for charge in charges])
    base = Plan(
        currency,
        tuple(charges),
        levels=levels,
        minimum=terms.minimum,
        maximum=terms.maximum,
        discounts=terms.discounts,
    )
    return parse_variants(plan.get("currencies", {}), plan, base, parse_plan)


def plan_of_contract(plan: Plan, own: Own) -> Plan:
    """Return the plan of one contract; PlanError for terms that do not fit it."""
    return effective(plan, own, parse=parse_plan, to_json=plan_to_json)


def own_that_fits(plan: Plan, own: Own) -> Own:
    """Return the part of a contract's terms that fits another plan than its own."""
    return fitting(plan, own, parse=parse_plan, to_json=plan_to_json)


def _charge(data: object, path: str) -> Charge:
    """Return one charge."""
    row = members(
        data,
        path,
        required="key name price",
        optional="metric unit filter discount_percent minimum maximum",
    )
    model = _model(row["price"], f"{path}.price")
    metric = None
    if isinstance(model, Flat):
        for name in ("metric", "filter"):
            if name in row:
                message = "a flat amount counts nothing: leave this out"
                raise PlanError("unsupported", f"{path}.{name}", message)
    elif isinstance(model, Dimensions | Recipe):
        if "metric" in row:
            kind = "a recipe reads" if isinstance(model, Recipe) else "dimensions read"
            message = f"{kind} the whole event: leave this out"
            raise PlanError("unsupported", f"{path}.metric", message)
        recipe = isinstance(model, Recipe)
        metric = RECIPE_METRIC if recipe else DIMENSIONS_METRIC
    elif isinstance(model, Compound):
        if "metric" in row:
            message = "an outcome is counted by its events: leave this out"
            raise PlanError("unsupported", f"{path}.metric", message)
        metric = outcome_metric(key(row["key"], f"{path}.key"), model.event_types)
    elif "metric" not in row:
        raise PlanError("missing_key", path, "metric is missing")
    else:
        metric = parse_metric(row["metric"], f"{path}.metric")
        _check_percentage(model, metric, f"{path}.metric")
        check_window(model, metric, f"{path}.metric")
    discount, minimum, maximum = _bounds(row, path, model)
    return Charge(
        discount=discount,
        minimum=minimum,
        maximum=maximum,
        key=key(row["key"], f"{path}.key"),
        name=text(row["name"], f"{path}.name", longest=200),
        unit=text(row.get("unit", ""), f"{path}.unit", longest=40, empty=True),
        metric=metric,
        model=model,
        filter=parse_filter(row.get("filter", {}), f"{path}.filter"),
    )


def _bounds(
    row: dict[str, Any], path: str, model: Model
) -> tuple[Decimal, Decimal | None, Decimal | None]:
    """Return a charge's discount in percent, its minimum and its maximum."""

    def amount(name: str) -> Decimal | None:
        if row.get(name) is None:
            return None
        if isinstance(model, Flat):
            message = "a flat amount is as it is: leave this out"
            raise PlanError("unsupported", f"{path}.{name}", message)
        return decimal(row[name], f"{path}.{name}", below=PRICE_LIMIT)

    where = f"{path}.discount_percent"
    discount = decimal(row.get("discount_percent", "0"), where, below=RATE_LIMIT)
    if discount > HUNDRED:
        raise PlanError("out_of_range", where, "at most 100")
    if places(discount, per=1) > DISCOUNT_PLACES:
        message = f"more than {DISCOUNT_PLACES} decimal places"
        raise PlanError("too_precise", where, message)
    minimum, maximum = amount("minimum"), amount("maximum")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise PlanError("out_of_range", f"{path}.maximum", "is below the minimum")
    return discount, minimum, maximum


def _check_percentage(model: Model, metric: Metric, path: str) -> None:
    """Refuse a percentage of anything but a sum of money."""
    inner = model.overage if isinstance(model, Included) else model
    if isinstance(inner, Percentage) and metric.aggregation is not Aggregation.SUM:
        message = "a percentage is taken of a sum"
        raise PlanError("unsupported", f"{path}.aggregation", message)


def _model(data: object, path: str) -> Model:
    """Return a charge model by its name."""
    row = members(data, path, required="model", others=True)
    name = text(row["model"], f"{path}.model", longest=40)
    parser = MODELS.get(name)
    if parser is None:
        known = ", ".join(MODELS)
        raise PlanError("unknown_model", f"{path}.model", f"{name} is none of {known}")
    return parser({k: v for k, v in row.items() if k != "model"}, path)


def _per(row: dict[str, Any], path: str) -> int:
    """Return for how many units the prices are."""
    value = number(row.get("per", 1), f"{path}.per", smallest=1, largest=PER[-1])
    if value not in PER:
        raise PlanError("unknown_choice", f"{path}.per", "1, 1000 or 1000000")
    return value


def _per_unit(data: object, path: str) -> PerUnit:
    """Return one price for all units."""
    row = members(data, path, required="unit_amount", optional="per")
    per = _per(row, path)
    return PerUnit(_price(row["unit_amount"], f"{path}.unit_amount", per=per), per)


def _price(value: object, path: str, *, per: int) -> Decimal:
    """Return a price of which one unit still has at most 12 places."""
    return decimal(value, path, below=PRICE_LIMIT, per=per)


def _tiers(row: dict[str, Any], path: str, *, per: int) -> tuple[Tier, ...]:
    """Return the tiers: `up_to` rises, only the last one is unbounded."""
    path = f"{path}.tiers"
    rows = array(row["tiers"], path, longest=TIERS_MAX)
    if not rows:
        raise PlanError("no_tiers", path, "at least one tier")
    tiers = []
    floor = ZERO
    for index, entry in enumerate(rows):
        here = f"{path}[{index}]"
        tier = members(
            entry, here, required="up_to unit_amount", optional="flat_amount"
        )
        up_to = tier["up_to"]
        last = index == len(rows) - 1
        if last and up_to is not None:
            message = "the last tier has no end: null"
            raise PlanError("last_tier_bounded", f"{here}.up_to", message)
        if not last:
            up_to = decimal(up_to, f"{here}.up_to", below=QUANTITY_LIMIT)
            if up_to <= floor:
                message = f"must be above {floor}, where the tier before ends"
                raise PlanError("tiers_not_increasing", f"{here}.up_to", message)
            floor = up_to
        flat = tier.get("flat_amount", "0")
        tiers.append(
            Tier(
                up_to,
                _price(tier["unit_amount"], f"{here}.unit_amount", per=per),
                _price(flat, f"{here}.flat_amount", per=1),
            )
        )
    return tuple(tiers)


def _graduated(data: object, path: str) -> Graduated:
    """Return graduated tiers."""
    row = members(data, path, required="tiers", optional="per")
    per = _per(row, path)
    return Graduated(_tiers(row, path, per=per), per)


def _volume(data: object, path: str) -> Volume:
    """Return volume tiers."""
    row = members(data, path, required="tiers", optional="per")
    per = _per(row, path)
    return Volume(_tiers(row, path, per=per), per)


def _package(data: object, path: str) -> Package:
    """Return packages at an amount each, or at a tiered price each."""
    row = members(data, path, required="size", optional="amount price")
    size = decimal(row["size"], f"{path}.size", below=QUANTITY_LIMIT, positive=True)
    if ("amount" in row) == ("price" in row):
        raise PlanError("unsupported", path, "name either amount or price")
    if "amount" in row:
        amount = _price(row["amount"], f"{path}.amount", per=1)
        return _sized(Package(size, PerUnit(amount, 1)), path)
    price = _model(row["price"], f"{path}.price")
    if not isinstance(price, PerUnit | Graduated | Volume) or price.per != 1:
        message = "packages are priced per_unit, graduated or volume, per 1 package"
        raise PlanError("unsupported", f"{path}.price", message)
    return _sized(Package(size, price), path)


def _sized(package: Package, path: str) -> Package:
    """Return the packages if what they make a unit cost is a price below the limit."""
    price = package.price
    tiers = (price,) if isinstance(price, PerUnit) else price.tiers
    dearest = max(tier.unit_amount for tier in tiers)
    if dearest >= PRICE_LIMIT * package.size:
        message = f"packages so small make a unit cost {PRICE_LIMIT:,f} or more"
        raise PlanError("out_of_range", f"{path}.size", message)
    return package


def _percentage(data: object, path: str) -> Percentage:
    """Return a percentage; a free amount beside event fees needs bounded events."""
    row = members(
        data,
        path,
        required="rate",
        optional="fixed_amount minimum maximum free_events free_amount",
    )

    def money(name: str) -> Decimal | None:
        if row.get(name) is None:
            return None
        return decimal(row[name], f"{path}.{name}", below=PRICE_LIMIT)

    free_events = row.get("free_events")
    if free_events is not None:
        free_events = number(
            free_events, f"{path}.free_events", smallest=1, largest=FREE_EVENTS_MAX
        )
    free_amount = row.get("free_amount")
    if free_amount is not None:
        free_amount = decimal(
            free_amount, f"{path}.free_amount", below=QUANTITY_LIMIT, positive=True
        )
    model = Percentage(
        rate=decimal(row["rate"], f"{path}.rate", below=RATE_LIMIT),
        fixed_amount=money("fixed_amount") or ZERO,
        minimum=money("minimum"),
        maximum=money("maximum"),
        free_events=free_events,
        free_amount=free_amount,
    )
    low, high = model.minimum, model.maximum
    if low is not None and high is not None and low > high:
        raise PlanError("out_of_range", f"{path}.maximum", "is below the minimum")
    if not model.is_linear and free_amount is not None and free_events is None:
        message = (
            "beside a fee or bounds per event it must be known which events are free: "
            f"give free_events too (at most {FREE_EVENTS_MAX:,})"
        )
        raise PlanError("unsupported", f"{path}.free_amount", message)
    return model


def _compound(data: object, path: str) -> Compound:
    """Return an outcome and its price."""
    return parse_compound(data, path, model=_model, filter=parse_filter)


def _recipe(data: object, path: str) -> Recipe:
    """Return units that meters are turned into, and their price."""
    return parse_recipe(data, path, model=_model, per=_per)


def _flat(data: object, path: str) -> Flat:
    """Return a fixed amount."""
    row = members(data, path, required="amount due")
    amount = _price(row["amount"], f"{path}.amount", per=1)
    return Flat(amount, choice(Due, row["due"], f"{path}.due"))


def _included(data: object, path: str) -> Included:
    """Return included units and the price of what goes beyond them."""
    row = members(data, path, required="units overage")
    units = decimal(row["units"], f"{path}.units", below=QUANTITY_LIMIT, positive=True)
    overage = _model(row["overage"], f"{path}.overage")
    if isinstance(overage, Flat | Included | Dimensions | Compound | Recipe):
        message = (
            "the overage is priced by the unit: not flat, included or by dimensions"
        )
        raise PlanError("unsupported", f"{path}.overage", message)
    if isinstance(overage, Percentage) and (
        not overage.is_linear or overage.free_amount is not None
    ):
        message = "an included sum of money goes with a plain rate only"
        raise PlanError("unsupported", f"{path}.overage", message)
    return Included(units, overage)


MODELS: dict[str, Callable[[object, str], Model]] = {
    "per_unit": _per_unit,
    "graduated": _graduated,
    "volume": _volume,
    "package": _package,
    "percentage": _percentage,
    "flat": _flat,
    "included": _included,
    "dimensions": parse_dimensions,
    "compound": _compound,
    "recipe": _recipe,
}
