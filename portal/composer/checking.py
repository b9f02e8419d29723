"""What is wrong with the form, box by box, in words; and the plan when nothing is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from aforo.lib.errors import AforoError
from catalog.limits import check_limits
from catalog.models import Metric
from catalog.plans import metric_json
from catalog.pricing import FREE_EVENTS_MAX, Plan, PlanError, parse_plan
from catalog.pricing.exact import PRICE_LIMIT, QUANTITY_LIMIT, RATE_LIMIT
from catalog.pricing.words import number_words
from portal.composer import (
    currencies,
    dimensions,
    levels,
    margins,
    rows,
    term_texts,
)
from portal.composer.bodies import BOUNDS, charge_json
from portal.composer.models import MODELS
from portal.composer.numbers import clean, read
from portal.composer.params import Param
from portal.composer.spelled import span_problems
from portal.composer.term_boxes import sentence, term_box, term_problems
from portal.composer.typed import Charge, Price, Typed, keys_of
from portal.composer.waiting import waiting

BELOW = {"price": PRICE_LIMIT, "quantity": QUANTITY_LIMIT, "rate": RATE_LIMIT}
_PATH = re.compile(r"charges\[[0-9]+\]\.?(?P<rest>.*)")
_TIER = re.compile(r"tiers\[(?P<index>[0-9]+)\](\.(?P<column>.*))?")
_QUOTA = re.compile(r"quotas\[(?P<index>[0-9]+)\](\.(?P<column>.*))?")


@dataclass(slots=True)
class Checked:
    """The problems by the id of the box at fault; the plan when there are none."""

    problems: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    labels: dict[str, str] = field(default_factory=dict)  # Charge name by box id.
    waiting: list[Charge] = field(default_factory=list)  # Not begun: not judged yet.

    def add(self, box: str, message: str, label: str = "") -> None:
        """Note a problem; the first one of a box stays."""
        self.problems.setdefault(box, message)
        if label:
            self.labels.setdefault(box, label)

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        """Box, problem with the charge that it is in, and the problem alone."""
        return [
            (box, f"{self.labels[box]}: {text}" if box in self.labels else text, text)
            for box, text in self.problems.items()
        ]


def check(
    typed: Typed, metrics: Mapping[str, Metric], *, patient: bool = False
) -> Checked:
    """Return what is wrong with the form; `metrics` are the tenant's by code.

    A patient check leaves charges out that were added and not begun: the plan of it
    is without them, so that figures go on while one is typed. Publishing has none.
    """
    checked = Checked()
    keys = keys_of(typed.charges)
    numbers = {c.uid: number for number, c in enumerate(typed.charges, start=1)}
    if patient and (later := waiting(typed)):
        checked.waiting = later
        begun = [c for c in typed.charges if c not in later]
        typed = replace(typed, charges=begun)
    bodies, right = [], []
    for charge in typed.charges:
        number = numbers[charge.uid]
        label = charge.name.strip() or f"Charge {number}"
        before = len(checked.problems)
        for box, message in _charge_problems(charge, metrics):
            checked.add(box, message, label)
        body = charge_json(charge, keys[charge.uid])
        if "metric" in body and body["metric"] in metrics:
            body["metric"] = metric_json(metrics[body["metric"]])
        bodies.append(body)
        if len(checked.problems) == before:
            right.append((body, charge))
    for box, message in levels.problems(typed.levels):
        checked.add(box, message, "Spend levels")
    for box, message, label in term_problems(typed):
        checked.add(box, message, label)
    said = {"currency": typed.currency, "levels": levels.to_json(typed.levels)}
    if not checked.problems:
        whole = {**said, "charges": bodies, **term_texts.to_json(typed.terms, keys)}
        checked.plan = _parse(whole, typed.charges, checked)
    if checked.plan is not None and typed.currencies:
        _check_currencies(typed, whole, checked)
    elif checked.plan is None:
        # The engine names one problem at a time: ask it about each charge alone, and
        # about its levels only where they are right.
        alone = _parse({**said, "charges": []}, [], checked)
        for body, charge in right:
            named = said if alone else {"currency": typed.currency}
            _parse({**named, "charges": [body]}, [charge], checked, strict=bool(alone))
    _check_limits(typed, metrics, checked)
    return checked


def _parse(
    body: dict[str, Any],
    charges: list[Charge],
    checked: Checked,
    *,
    strict: bool = True,
) -> Plan | None:
    """Return the plan that the engine reads; note what it refuses."""
    try:
        return parse_plan(body, published=not strict)
    except PlanError as error:
        if box := levels.box_of(error.path):
            checked.add(box, sentence(error.message), "Spend levels")
            return None
        found = re.match(r"charges\[([0-9]+)\]", error.path)
        if found is None:
            checked.add(term_box(error.path), sentence(error.message))
            return None
        charge = charges[int(found[1])]
        label = charge.name.strip() or charge.uid
        checked.add(box_of_charge(charge, error.path), sentence(error.message), label)
        return None


def _check_currencies(typed: Typed, whole: dict[str, Any], checked: Checked) -> None:
    """Note what is wrong with the prices in further currencies; keep the whole plan."""
    for box, message, label in currencies.problems(typed, whole):
        checked.add(box, message, label)
    body = whole | currencies.write_currencies(typed, whole)
    checked.plan = None
    if checked.problems:
        return
    try:
        checked.plan = parse_plan(body)
    except PlanError as error:
        box, label = currencies.box_of_path(typed, error.path)
        checked.add(box, sentence(error.message), label)


def box_of_charge(charge: Charge, path: str) -> str:
    """Return the id of the box that a path of plan JSON is typed into."""
    found = _PATH.fullmatch(path)
    rest = found["rest"] if found else ""
    head, _, tail = rest.partition(".")
    if head == "filter":
        names = [name.strip() for name, _ in charge.filters]
        name = tail.partition("[")[0]
        at = names.index(name) if name in names else 0
        return f"{charge.uid}-filter-{at}-values"
    if head == "metric":
        return f"{charge.uid}-metric"
    if head in BOUNDS:
        return f"{charge.uid}-bound-{head}"
    if head != "price":
        return f"{charge.uid}-{head if head in ('key', 'unit') else 'name'}"
    return _price_box(charge.price, tail, charge.uid)


def box_of(typed: Typed, path: str) -> str:
    """Return the id of the box of a path in a plan's body."""
    found = re.match(r"charges\[([0-9]+)\]", path)
    if found is None or int(found[1]) >= len(typed.charges):
        return path if path in ("currency", "prorate") else "currency"
    return box_of_charge(typed.charges[int(found[1])], path)


def _price_box(price: Price, path: str, prefix: str) -> str:
    """Return the id of the box of a price's member."""
    form = MODELS.get(price.model)
    if form is None:
        return f"{prefix}-json"
    head, _, tail = path.partition(".")
    if form.inner and head in (form.inner, "amount") and price.inner is not None:
        inner = tail if head == form.inner else "unit_amount"
        return _price_box(price.inner, inner, f"{prefix}-o")
    if found := _TIER.fullmatch(path):
        return f"{prefix}-tier-{found['index']}-{found['column'] or 'unit_amount'}"
    if found_param := _param_at(form.params, path):
        if found_param.kind != "rows":
            return f"{prefix}-{found_param.name}"
        typed = price.rows.get(found_param.name, [])
        rest = path.removeprefix(found_param.where)
        return rows.locate(found_param, typed, rest, prefix)
    return f"{prefix}-{form.params[0].name if form.params else 'model'}"


def _param_at(params: Sequence[Param], path: str) -> Param | None:
    """Return the parameter that a path leads into, or that lies below it."""
    into = [
        param
        for param in params
        if path == param.where
        or path.startswith((f"{param.where}.", f"{param.where}["))
    ]
    if into:
        return max(into, key=lambda param: len(param.where))
    return next((p for p in params if path and p.where.startswith(f"{path}.")), None)


def _charge_problems(
    charge: Charge, metrics: Mapping[str, Metric]
) -> Iterator[tuple[str, str]]:
    """Find what is wrong with the boxes of one charge."""
    uid = charge.uid
    if not charge.name.strip():
        yield f"{uid}-name", "Name is blank. Type what the invoice shall say."
    form = MODELS.get(charge.price.model)
    if form is None or form.metered:
        yield from _metric_problems(charge, metrics, needed=form is not None)
    if form is None or form.filtered:
        seen = set()
        for at, (name, text) in enumerate(charge.filters):
            if not name.strip() and not text.strip():
                continue
            if not name.strip():
                message = "Property is blank. Type its name, such as requestType."
                yield f"{uid}-filter-{at}-property", message
            elif name.strip() in seen:
                message = f"{name.strip()} has a condition above. Put all values there."
                yield f"{uid}-filter-{at}-property", message
            elif not text.strip(' ,"'):
                message = "Values are blank. Type one or more, such as batch."
                yield f"{uid}-filter-{at}-values", message
            seen.add(name.strip())
    yield from _price_problems(charge.price, uid)


def _metric_problems(
    charge: Charge, metrics: Mapping[str, Metric], *, needed: bool
) -> Iterator[tuple[str, str]]:
    """Find whether the charge counts something that can be counted."""
    box = f"{charge.uid}-metric"
    if not charge.metric:
        if needed:
            yield box, "No metric is chosen. Choose what is counted."
    elif charge.metric not in metrics:
        yield box, f"There is no metric {charge.metric}. Choose one, or create it."


def _price_problems(price: Price, prefix: str) -> Iterator[tuple[str, str]]:
    """Find what is wrong with the boxes of a charge model."""
    form = MODELS.get(price.model)
    if form is None:
        return
    per = _per(price)
    for param in form.params:
        if param.kind == "rows":
            typed = price.rows.get(param.name, [])
            yield from rows.problems(param, typed, prefix)
        else:
            yield from _param_problems(param, price, prefix, per)
    if price.model == "dimensions" and not dimensions.prices(price):
        yield f"{prefix}-tool_invocations-0-rate", dimensions.NOTHING
    if form.tiered:
        yield from _tier_problems(price, prefix, per)
    if price.inner is not None:
        yield from _price_problems(price.inner, f"{prefix}-o")


def _per(price: Price) -> int:
    """Return for how many units the prices are."""
    text = price.values.get("per", "1")
    return int(text) if text in ("1000", "1000000") else 1


def _param_problems(
    param: Param, price: Price, prefix: str, per: int
) -> Iterator[tuple[str, str]]:
    """Find what is wrong with one parameter."""
    text = price.values.get(param.name, "")
    box = f"{prefix}-{param.name}"
    beside = price.values.get(param.beside, "").strip()
    if param.optional and not beside and not text.strip():
        return
    if param.kind == "lines":
        # What a line says is the engine's to judge.
        if not text.strip():
            yield box, f"{param.label} is blank."
        return
    if param.kind == "span":
        for told in span_problems(text, param.label):
            yield box, told
        return
    if param.kind == "whole":
        if not clean(text).isdecimal():
            yield box, f"{param.label} is a whole number; you entered {text[:40]}."
        return
    if param.kind == "choice":
        if text not in dict(param.choices):
            yield box, f"{param.label}: choose one of the list."
        return
    if param.kind == "count":
        whole = clean(text)
        if not whole.isdecimal() or not 1 <= Decimal(whole) <= FREE_EVENTS_MAX:
            message = f"{param.label} is a whole number from 1 to {FREE_EVENTS_MAX:,};"
            yield box, f"{message} you entered {text.strip()[:40]}."
        return
    if param.kind in rows.PLACES:
        kind, label = param.kind, param.label
        for told in rows.number_problems(kind, text, label, positive=param.positive):
            yield box, told
        return
    unit = per if param.name == "unit_amount" else 1
    yield from _trouble(
        box,
        lambda: read(
            text,
            param.label,
            below=BELOW[param.kind],
            positive=param.positive,
            per=unit,
        ),
    )


def _trouble(box: str, reading: Callable[[], Decimal]) -> Iterator[tuple[str, str]]:
    """Yield why a number cannot be read, if it cannot."""
    try:
        reading()
    except PlanError as error:
        yield box, error.message


def _tier_problems(price: Price, prefix: str, per: int) -> Iterator[tuple[str, str]]:
    """Find what is wrong with a tier table."""
    floor: Decimal | None = Decimal(0)
    for at, tier in enumerate(price.tiers):
        number, box = at + 1, f"{prefix}-tier-{at}"
        if at < len(price.tiers) - 1:
            end = f"{box}-up_to"
            try:
                up_to = read(tier.up_to, f"End of tier {number}", below=QUANTITY_LIMIT)
            except PlanError as error:
                yield end, error.message
                floor = None
            else:
                if floor is not None and up_to <= floor:
                    yield end, _too_low(number, floor)
                floor = up_to
        yield from _trouble(
            f"{box}-unit_amount",
            lambda tier=tier, number=number: read(  # type: ignore[misc]
                tier.unit_amount, f"Tier {number} price", below=PRICE_LIMIT, per=per
            ),
        )
        if tier.flat_amount.strip():
            yield from _trouble(
                f"{box}-flat_amount",
                lambda tier=tier, number=number: read(  # type: ignore[misc]
                    tier.flat_amount, f"Tier {number} flat amount", below=PRICE_LIMIT
                ),
            )


def _too_low(number: int, floor: Decimal) -> str:
    """Say where a tier must end."""
    if not floor:
        return f"Tier {number} must end above 0. Try 1,000."
    return (
        f"Tier {number} must end above {number_words(floor)}, where tier {number - 1}"
        f" ends. Try {number_words(floor * 5)}."
    )


def _check_limits(
    typed: Typed, metrics: Mapping[str, Metric], checked: Checked
) -> None:
    """Note what the guard's limits lack."""
    try:
        check_limits(typed.limits, metrics=frozenset(metrics))
    except AforoError as error:
        path = (error.field or "").removeprefix("limits.")
        box = margins.box_name(path)
        if found := _QUOTA.fullmatch(path):
            box = f"quota-{found['index']}-{found['column'] or 'limit'}"
        checked.add(box, error.detail, "Limits")
