"""What changes from one version of a plan to another, figure by figure. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from aforo.lib.money import CONTEXT
from catalog.describe import model_words
from catalog.facts import (
    Fact,
    charge_facts,
    currency_facts,
    level_facts,
    limit_facts,
    plan_facts,
)
from catalog.pricing import Charge, Plan


@dataclass(frozen=True, slots=True)
class Terms:
    """What one version says: its charges, the guard's defaults, and proration."""

    plan: Plan
    limits: Mapping[str, Any]
    prorate: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is said otherwise; an empty text: it was not, or is no more."""

    label: str
    old: str
    new: str
    ratio: Decimal | None = None  # new ÷ old − 1 of a figure; None without one.


class Kind(StrEnum):
    """What happens to a charge."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ChargeChange:
    """A charge that is new, gone, or says something else."""

    kind: Kind
    key: str
    name: str
    words: str  # What it costs now; of a removed one, what it did cost.
    changes: tuple[Change, ...] = ()  # Of a changed one.


@dataclass(frozen=True, slots=True)
class Difference:
    """All that changes from one version to another."""

    currency: Change | None
    currencies: Change | None  # The further ones that it is sold in.
    charges: tuple[ChargeChange, ...]
    unchanged: int  # Charges that stay as they are.
    reordered: bool  # Whether the charges that stay come in another order.
    limits: tuple[Change, ...]
    prorate: Change | None
    levels: tuple[Change, ...] = ()
    overall: tuple[Change, ...] = ()  # Minimum and maximum spend, discounts.

    @property
    def is_empty(self) -> bool:
        """Whether both versions say the same."""
        return not (
            self.currency
            or self.currencies
            or self.charges
            or self.reordered
            or self.limits
            or self.overall
            or self.prorate
            or self.levels
        )


def compare(old: Terms, new: Terms) -> Difference:
    """Return what changes from the old terms to the new ones; charges go by key."""
    before = {charge.key: charge for charge in old.plan.charges}
    after = {charge.key: charge for charge in new.plan.charges}
    a, b = old.plan.currency, new.plan.currency
    same_money = a == b
    charges = []
    for key, charge in after.items():
        if key not in before:
            charges.append(_whole(Kind.ADDED, charge, b))
            continue
        changes = _changes(
            [*charge_facts(before[key], a), *currency_facts(old.plan, before[key])],
            [*charge_facts(charge, b), *currency_facts(new.plan, charge)],
            same_money,
        )
        if changes:
            words = model_words(charge.model, charge.unit, b)
            changed = Kind.CHANGED
            charges.append(ChargeChange(changed, key, charge.name, words, changes))
    charges += [
        _whole(Kind.REMOVED, charge, a)
        for key, charge in before.items()
        if key not in after
    ]
    kept = [key for key in after if key in before]
    changed_count = sum(1 for c in charges if c.kind is Kind.CHANGED)
    return Difference(
        currency=None if same_money else Change("Currency", a, b),
        currencies=_further(old.plan, new.plan),
        charges=tuple(charges),
        unchanged=len(kept) - changed_count,
        reordered=kept != [key for key in before if key in after],
        overall=_changes(
            _in_each(old.plan, plan_facts), _in_each(new.plan, plan_facts), same_money
        ),
        limits=_changes(
            limit_facts(old.limits, a), limit_facts(new.limits, b), same_money
        ),
        prorate=None
        if old.prorate == new.prorate
        else Change(
            "Fixed amounts", _prorate_words(old.prorate), _prorate_words(new.prorate)
        ),
        levels=_changes(
            _in_each(old.plan, _levels), _in_each(new.plan, _levels), same_money
        ),
    )


def _levels(plan: Plan) -> list[Fact]:
    """Return the spend levels of a plan."""
    return level_facts(plan.levels, plan.currency)


def _in_each(plan: Plan, facts: Callable[[Plan], list[Fact]]) -> list[Fact]:
    """Return facts of the whole plan, also of further currencies where they differ."""
    found = facts(plan)
    same = {fact.words for fact in found}
    for variant in plan.variants:
        for fact in facts(variant):
            if fact.words not in same:
                key = f"{variant.currency}.{fact.key}"
                label = f"{fact.label}, {variant.currency}"
                found.append(replace(fact, key=key, label=label))
    return found


def _further(old: Plan, new: Plan) -> Change | None:
    """Return how the further currencies differ, if they do."""
    was, now = (", ".join(plan.currencies[1:]) for plan in (old, new))
    return None if was == now else Change("Other currencies", was, now)


def _whole(kind: Kind, charge: Charge, currency: str) -> ChargeChange:
    """Return a charge that comes or goes."""
    words = model_words(charge.model, charge.unit, currency)
    return ChargeChange(kind, charge.key, charge.name, words)


def _prorate_words(prorate: bool) -> str:
    """Return how a period that is not whole is charged."""
    return "by the days in force" if prorate else "whole periods"


def _changes(
    old: Sequence[Fact], new: Sequence[Fact], comparable: bool
) -> tuple[Change, ...]:
    """Return the facts that differ, in the order of the new ones."""
    before = {fact.key: fact for fact in old}
    after = {fact.key: fact for fact in new}
    found = []
    for key in [*after, *(key for key in before if key not in after)]:
        was, now = before.get(key), after.get(key)
        if was is not None and now is not None and was.words == now.words:
            continue
        said = now or was
        assert said is not None
        values = was.value if was else None, now.value if now else None
        found.append(
            Change(
                said.label,
                was.words if was else "",
                now.words if now else "",
                ratio(*values) if comparable else None,
            )
        )
    return tuple(found)


def ratio(old: Decimal | None, new: Decimal | None) -> Decimal | None:
    """Return the relative change; None without two figures, or from zero."""
    if old is None or new is None or not old:
        return None
    return CONTEXT.divide(CONTEXT.subtract(new, old), abs(old))
