"""The form as the templates show it: boxes with ids, texts and problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from catalog.limits import BUILT_IN
from catalog.models import Metric
from catalog.pricing import SPEND_LEVEL
from portal.composer import levels, margins
from portal.composer.boxes import Box, Choices
from portal.composer.models import MODELS, ModelForm, Param
from portal.composer.numbers import grouped
from portal.composer.sections import COUNTED, Section, sections
from portal.composer.typed import JSON_MODEL, Charge, Price, Typed, keys_of

_ANY: Choices = ()  # Whatever is typed.
ON_EXCEED = (("deny", "refuse further requests"), ("bill", "let them pass, billed"))


@dataclass(frozen=True, slots=True)
class TierRow:
    """One row of a tier table."""

    number: int
    floor: str  # Where the tier before ends; the tier holds what is above.
    up_to: Box | None  # None on the last one: ∞.
    unit_amount: Box
    flat_amount: Box
    remove: str  # The button's value.
    effect_id: str
    effect: Decimal | None  # What it costs at the simulator's quantities.


@dataclass(slots=True)
class ShownPrice:
    """A charge model's boxes."""

    prefix: str
    model: str
    hint: str
    template: str
    boxes: list[Box]
    sections: list[Section] = field(default_factory=list)  # Of boxes and tables.
    tiers: list[TierRow] = field(default_factory=list)
    inner: ShownPrice | None = None
    inner_choice: Box | None = None


@dataclass(slots=True)
class ShownCharge:
    """A charge's boxes."""

    uid: str
    number: int
    title: str
    model_label: str
    is_open: bool
    is_first: bool
    is_last: bool
    problem_count: int
    is_metered: bool
    is_filtered: bool
    name: Box
    key: Box
    unit: Box
    metric: Box
    model: Box
    filters: list[tuple[Box, Box, str]]
    bounds: list[Box]
    price: ShownPrice
    saved_key: str = ""  # By which the saved draft has it.


class Shower:
    """Makes boxes of what was typed; a box shows its problem."""

    def __init__(
        self,
        typed: Typed,
        problems: Mapping[str, str],
        metrics: Iterable[Metric],
        *,
        fixed_keys: frozenset[str],
        focus: str = "",
        notes: Mapping[str, str] | None = None,
        effects: Mapping[str, Decimal | None] | None = None,
    ) -> None:
        """Take the form; `fixed_keys` are those that a version was published with.

        `notes` say what the product's traffic lacks for a parameter, by its name;
        `effects` what each tier costs now.
        """
        self.notes = notes or {}
        self.effects = effects or {}
        self.typed = typed
        self.problems = problems
        known = list(metrics)
        self.metrics = [("", "Choose a metric")] + [
            (m.code, f"{m.name} ({m.code}){_window_words(m)}") for m in known
        ]
        self.units = {m.code: m.unit for m in known}
        self.fixed_keys = fixed_keys
        self.focus = focus

    def charges(self) -> list[ShownCharge]:
        """Return all charges."""
        keys = keys_of(self.typed.charges)
        last = len(self.typed.charges)
        return [
            self._charge(charge, number, last, keys[charge.uid])
            for number, charge in enumerate(self.typed.charges, start=1)
        ]

    def _charge(
        self, charge: Charge, number: int, last: int, made_key: str
    ) -> ShownCharge:
        """Return one charge."""
        uid = charge.uid
        form = MODELS.get(charge.price.model)
        count = sum(box.startswith(f"{uid}-") for box in self.problems)
        models = [m.choice for m in MODELS.values()]
        if form is None:
            models.append((JSON_MODEL, "Other, as JSON"))
        fixed = charge.key in self.fixed_keys and bool(charge.key)
        key_hint = f"Blank: {made_key}. Once published it stays."
        if fixed:
            key_hint = "As published; it stays."
        return ShownCharge(
            uid,
            number,
            charge.name.strip() or "New charge",
            form.label if form else "JSON",
            charge.is_open or count > 0 or self.focus.startswith(f"{uid}-"),
            number == 1,
            number == last,
            count,
            form is None or form.metered,
            form is None or form.filtered,
            self._box(uid, "name", "Name", charge.name, hint="As the invoice says it."),
            self._box(uid, "key", "Key", charge.key, hint=key_hint, is_fixed=fixed),
            self._box(
                uid,
                "unit",
                "Unit",
                charge.unit,
                is_optional=True,
                hint=self._unit_hint(charge, is_metered=form is None or form.metered),
            ),
            self._box(
                uid,
                "metric",
                "Metric",
                charge.metric,
                choices=self._metric(charge),
                off=form.off if form and not form.metered else "",
            ),
            self._box(uid, "model", "Charge model", charge.price.model, choices=models),
            [self._filter(uid, at, row) for at, row in enumerate(charge.filters)],
            self._bounds(charge),
            self._price(charge.price, uid),
            made_key,
        )

    def _unit_hint(self, charge: Charge, *, is_metered: bool) -> str:
        """Return what price lists call a unit that is left blank, by its metric."""
        unit = self.units.get(charge.metric, "") if is_metered else ""
        return f"Blank: {unit}, as the metric says, on price lists." if unit else ""

    def _bounds(self, charge: Charge) -> list[Box]:
        """Return the boxes of a charge's discount, minimum and maximum."""
        labels = {
            "discount_percent": "Discount in %",
            "minimum": f"Minimum per period in {self.typed.currency}",
            "maximum": f"Maximum per period in {self.typed.currency}",
        }
        return [
            self._box(
                f"{charge.uid}-bound",
                name,
                label,
                charge.bounds.get(name, ""),
                is_optional=True,
                is_number=True,
                off=""
                if name == "discount_percent"
                or charge.price.model != "flat"
                or charge.bounds.get(name)
                else "a flat amount is the same in every period",
            )
            for name, label in labels.items()
        ]

    def _metric(self, charge: Charge) -> Choices:
        """Return the metrics to choose from, an absent one too."""
        if charge.metric in dict(self.metrics):
            return self.metrics
        return [*self.metrics, (charge.metric, f"{charge.metric} (missing)")]

    def _box(self, prefix: str, name: str, label: str, value: str, **more: Any) -> Box:
        """Return a box with its problem."""
        box = f"{prefix}-{name}"
        return Box(box, box, label, value, self.problems.get(box, ""), **more)

    def currency(self, choices: Choices) -> Box:
        """Return the box of the plan's own currency."""
        problem = self.problems.get("currency", "")
        code = self.typed.currency
        return Box("currency", "currency", "Currency", code, problem, choices=choices)

    def levels(self) -> list[levels.LevelShown]:
        """Return the rows of the spend levels."""
        return levels.shown(self.typed.levels, self.problems, self.typed.currency)

    def _filter(self, uid: str, at: int, row: tuple[str, str]) -> tuple[Box, Box, str]:
        """Return a condition: its property, its values and the button that removes.

        A spend level is chosen among those that there are.
        """
        start = f"{uid}-filter-{at}"
        text, choices = row[1], _ANY
        if row[0].strip() == SPEND_LEVEL and self.typed.levels:
            text, choices = levels.choices(self.typed.levels, row[1])
        return (
            Box(
                f"{start}-property",
                f"{uid}-filter_property",
                f"Property {at + 1}",
                row[0],
                self.problems.get(f"{start}-property", ""),
            ),
            Box(
                f"{start}-values",
                f"{uid}-filter_values",
                f"Values of property {at + 1}",
                text,
                self.problems.get(f"{start}-values", ""),
                choices=choices,
            ),
            f"{uid}.filter.{at}.remove",
        )

    def _price(self, price: Price, prefix: str) -> ShownPrice:
        """Return a charge model's boxes, those of an inner price too."""
        form = MODELS.get(price.model)
        if form is None:
            text = price.values.get("json", "")
            box = self._box(prefix, "json", "Price as JSON", text, is_code=True)
            hint = "This price has no form yet; it is kept as it is."
            template = "portal/composer_price.html"
            return ShownPrice(prefix, JSON_MODEL, hint, template, [box])
        shown = ShownPrice(prefix, form.name, form.hint, form.template, [])
        in_package = prefix.endswith("-o") and price.values.get("per") == "1"
        boxes = {
            param.name: self._param(param, price, prefix)
            for param in form.params
            if param.kind != "rows"
            and (param.name != "per" or not (in_package and self._packaged(prefix)))
        }
        shown.boxes = list(boxes.values())
        problems, notes = self.problems, self.notes
        shown.sections = sections(
            form.params, price, prefix, boxes, problems, notes, self.focus
        )
        if form.tiered:
            shown.tiers = self._tiers(price, prefix)
        if form.inner and price.inner is not None:
            shown.inner = self._price(price.inner, f"{prefix}-o")
            shown.inner_choice = self._inner_choice(form, price.inner, prefix)
        return shown

    def _packaged(self, prefix: str) -> bool:
        """Tell whether the price at a prefix prices packages."""
        uid, *depth = prefix.split("-")
        charge = self.typed.charge(uid)
        price = charge.price if charge else None
        for _ in depth[1:]:
            price = price.inner if price else None
        return price is not None and price.model == "package"

    def _inner_choice(self, form: ModelForm, inner: Price, prefix: str) -> Box:
        """Return the choice of the model inside another."""
        choices = [MODELS[name].choice for name in form.inner_models]
        if form.name == "package":
            choices[0] = ("per_unit", "One amount for each package")
        return self._box(
            prefix, form.inner, form.inner_label, inner.model, choices=choices
        )

    def _param(self, param: Param, price: Price, prefix: str) -> Box:
        """Return one parameter's box."""
        text = price.values.get(param.name, "")
        return self._box(
            prefix,
            param.name,
            param.label,
            grouped(text) if param.kind in COUNTED else text,
            hint=param.hint,
            choices=param.choices,
            is_optional=param.optional,
            is_number=param.kind not in ("choice", "lines", "span"),
            is_code=param.kind == "lines",
            rows=4,
        )

    def _tiers(self, price: Price, prefix: str) -> list[TierRow]:
        """Return the rows of a tier table."""
        rows = []
        floor = "0"
        for at, tier in enumerate(price.tiers):
            last = at == len(price.tiers) - 1

            def cell(name: str, label: str, value: str, at: int = at) -> Box:
                box = f"{prefix}-tier-{at}-{name}"
                text = f"Tier {at + 1} {label}"
                problem = self.problems.get(box, "")
                return Box(
                    box, f"{prefix}-{name}", text, value, problem, is_number=True
                )

            end = grouped(tier.up_to)
            rows.append(
                TierRow(
                    at + 1,
                    floor,
                    None if last else cell("up_to", "up to", end),
                    cell("unit_amount", "price", tier.unit_amount),
                    cell("flat_amount", "flat amount", tier.flat_amount),
                    f"{prefix}.tier.{at}.remove",
                    effect := f"{prefix}-tier-{at}-effect",
                    self.effects.get(effect),
                )
            )
            floor = end
        return rows

    def limits(self) -> dict[str, Box]:
        """Return the boxes of the guard's limits, by name."""
        labels = {
            "requests_per_minute": "Requests per minute",
            "tokens_per_minute": "Tokens per minute",
            "spend_cap": f"Spend cap per period in {self.typed.currency}",
        }
        found = {
            name: Box(
                name,
                name,
                label,
                _text(self.typed.limits.get(name)),
                self.problems.get(name, ""),
                is_optional=True,
                is_number=True,
            )
            for name, label in labels.items()
        }
        return found | margins.boxes(self.typed, self.problems)

    def quotas(self) -> list[tuple[Box, Box, Box]]:
        """Return the quotas: metric, limit and what happens beyond."""
        built_in = [(name, name.capitalize()) for name in sorted(BUILT_IN)]
        metrics = [("", "No quota"), *built_in, *self.metrics[1:]]
        return [
            tuple(  # type: ignore[misc]
                Box(
                    f"quota-{at}-{name}",
                    f"quota_{name}",
                    f"Quota {at + 1}: {label}",
                    _text(quota.get(name)),
                    self.problems.get(f"quota-{at}-{name}", ""),
                    choices=choices,
                    is_number=not choices,
                )
                for name, label, choices in (
                    ("metric", "metric", metrics),
                    ("limit", "limit", ()),
                    ("on_exceed", "beyond it", ON_EXCEED),
                )
            )
            for at, quota in enumerate(self.typed.limits.get("quotas") or [])
        ]


def _window_words(metric: Metric) -> str:
    """Return what a metric is aggregated by, unless it is the period."""
    by_period = metric.window == Metric.Window.PERIOD
    return "" if by_period else f", per {metric.window}"


def _text(value: Any) -> str:
    """Return what stands in a box for a limit."""
    return "" if value is None else str(value)
