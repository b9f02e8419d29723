"""Own prices of a contract in the composer's boxes: read, judged and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import QueryDict

from catalog.describe import charge_words
from catalog.models import Metric
from catalog.pricing import Plan, plan_to_json
from portal.composer.acts import act
from portal.composer.bodies import charge_json, from_body
from portal.composer.checking import Checked, box_of_charge, check
from portal.composer.models import MODELS
from portal.composer.posting import from_post
from portal.composer.shown import Shower, ShownCharge
from portal.composer.typed import JSON_MODEL, Charge, Typed

# Models that count in a way of their own: a price of another one is another charge.
APART = ("flat", "dimensions", "compound")
MEMBERS = ("name", "price", "discount_percent", "minimum", "maximum")


@dataclass(frozen=True, slots=True)
class OwnRow:
    """One charge of the plan: what it lists, and the boxes of the contract's own."""

    shown: ShownCharge
    listed: str  # The plan's price in words.
    current: str  # The contract's own in words; empty: it has none.
    is_own: bool  # Whether the boxes hold.

    @property
    def is_open(self) -> bool:
        """Whether its boxes show at first."""
        return self.is_own or self.shown.is_open


@dataclass(slots=True)
class OwnForm:
    """The charges of a contract's plan, and which have prices of their own."""

    listed: Plan  # In the contract's currency, as the plan says.
    current: Plan  # As the contract pays now.
    typed: Typed
    own: set[str] = field(default_factory=set)  # Charge keys whose boxes hold.
    focus: str = ""

    @classmethod
    def stored(cls, listed: Plan, current: Plan, own: Mapping[str, Any]) -> OwnForm:
        """Return the form as the contract is now."""
        typed = from_body(plan_to_json(current), limits={}, prorate=False)
        for charge in typed.charges:
            charge.is_open = charge.key in own
        return cls(listed, current, typed, set(own))

    def post(self, data: QueryDict) -> None:
        """Take over what was typed; what a charge counts stays the plan's."""
        code = self.typed.currency
        said = {
            c.key: c for c in from_post(data, kept_limits={}, currency=code).charges
        }
        self.own = set()
        for at, charge in enumerate(self.typed.charges):
            typed = said.get(charge.key)
            if typed is None:
                continue
            if data.get(f"{charge.uid}-own"):
                self.own.add(charge.key)
            self.typed.charges[at] = replace(
                charge, price=typed.price, name=typed.name, bounds=typed.bounds
            )

    def act(self, deed: str) -> None:
        """Do what a button of a price says: show its boxes, add or remove a row."""
        if deed.startswith("show.") or ".tier." in deed or ".rows." in deed:
            self.focus = act(self.typed, deed)

    def check(self, metrics: Mapping[str, Metric]) -> Checked:
        """Return what is wrong with the boxes that hold."""
        chosen = [c for c in self.typed.charges if c.key in self.own]
        return check(Typed(self.typed.currency, chosen), metrics)

    def charges(self) -> dict[str, dict[str, Any]]:
        """Return the own prices as plan JSON: what differs from the plan's."""
        rows = {row["key"]: row for row in plan_to_json(self.listed)["charges"]}
        found = {}
        for charge in self.typed.charges:
            if charge.key not in self.own:
                continue
            said, row = charge_json(charge, charge.key), rows[charge.key]
            differs = {n: said.get(n) for n in MEMBERS if said.get(n) != row.get(n)}
            if differs:
                found[charge.key] = differs
        return found

    def box(self, path: str) -> str:
        """Return the box of a path that a refusal of own prices names."""
        head, _, rest = path.removeprefix("overrides.charges.").partition(".")
        charge = next((c for c in self.typed.charges if c.key == head), None)
        return box_of_charge(charge, f"charges[0].{rest}") if charge else ""

    def rows(self, problems: Mapping[str, str]) -> list[OwnRow]:
        """Return every charge with its boxes."""
        keys = frozenset(charge.key for charge in self.typed.charges)
        shower = Shower(self.typed, problems, (), fixed_keys=keys, focus=self.focus)
        made = []
        for shown, charge in zip(shower.charges(), self.typed.charges, strict=True):
            listed = self.listed.charge(charge.key)
            current = self.current.charge(charge.key)
            shown.model = replace(shown.model, choices=_models(charge))
            own = charge_words(current, self.current.currency)
            made.append(
                OwnRow(
                    shown,
                    charge_words(listed, self.listed.currency),
                    own if current != listed else "",
                    charge.key in self.own,
                )
            )
        return made


def _models(charge: Charge) -> list[tuple[str, str]]:
    """Return the charge models that count as this charge does."""
    model = charge.price.model
    if model == JSON_MODEL:
        return [(JSON_MODEL, "Other, as JSON")]
    if model in APART:
        return [MODELS[model].choice]
    return [m.choice for m in MODELS.values() if m.name not in APART]
