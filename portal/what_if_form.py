"""The form of a what-if question, filled with what the month has to ask about."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from django import forms

from aforo.lib import clock
from aforo.lib.money import display
from catalog.cost_context import Situation
from catalog.costs import CostBook
from portal.selectors import what_if
from portal.selectors.what_if import Month, Seen, Target
from portal.tool_forms import PLAIN

ALL_MODELS = ("", "Every model")
ALL_PRODUCTS = ("", "Every product")
NO_TARGET = ("", "— stay, and change the price instead —")
FIRST_YEAR = 2000


def counted(row: Seen, note: str = "") -> str:
    """Return a row of a month as a choice: what it is, and how many events it has."""
    events = f"{row.events:,} event{'' if row.events == 1 else 's'}"
    return " · ".join(part for part in (row.label, note, events) if part)


def priced(target: Target) -> str:
    """Return a model as a choice: its name and what a million of its tokens cost."""
    parts = [
        f"{display(price, target.currency)} {way}"
        for price, way in ((target.price_in, "in"), (target.price_out, "out"))
        if price is not None
    ]
    return f"{target.model} · {', '.join(parts)} per 1M"


def read_month(text: str) -> dt.date | None:
    """Return the first day of a month such as 2026-10; None when it is none."""
    try:
        day = dt.date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
    return day if dt.date(FIRST_YEAR, 1, 1) <= day <= clock.now().date() else None


def close_to(text: str, known: Iterable[str]) -> str:
    """Return what somebody may have meant, as a sentence with a leading space."""
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(text.lower(), lower, 3, 0.5)
    return f" Did you mean {', '.join(lower[f] for f in found)}?" if found else ""


class WhatIfForm(forms.Form):
    """What would a month have cost otherwise?

    `cleaned_data` has `month` (its first day), `customer` (a billing Customer or
    None), `product` and `model` (a what_if.Seen or None: all), `target` (a
    what_if.Target or None), `change` and `margin` (percent, or None).
    """

    month = forms.CharField(widget=forms.HiddenInput())
    model = forms.CharField(
        required=False,
        label="Calls of the model",
        widget=forms.Select(),
        help_text="What was used in this month, the most used first.",
    )
    target = forms.CharField(
        required=False,
        label="Move to the model",
        widget=forms.Select(),
        help_text="Every model whose tokens have a known price today.",
    )
    change = forms.DecimalField(
        required=False,
        min_value=Decimal(-100),
        max_value=Decimal(10_000),
        label="Or change the price by %",
        help_text="-20 is a fifth less. It changes what tokens cost, not tools.",
    )
    customer = forms.CharField(
        required=False,
        widget=forms.TextInput({**PLAIN, "list": "customers-seen"}),
        help_text="A name, their id or ours. Empty: everybody.",
    )
    product = forms.CharField(required=False, widget=forms.Select())
    margin = forms.DecimalField(
        required=False,
        max_value=Decimal("99.9"),
        min_value=Decimal(0),
        label="Margin to hold, %",
        help_text="Empty: the margin as it was, of each customer.",
    )

    def __init__(
        self,
        *args: Any,
        month: Month,
        targets: Sequence[Target],
        book: CostBook,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.seen, self.targets, self.book = month, targets, book
        makers: dict[str, list[tuple[str, str]]] = {}
        for target in targets:
            pair = (target.value, priced(target))
            makers.setdefault(target.provider, []).append(pair)
        self._offer("model", [ALL_MODELS, *self._models()])
        self._offer("target", [NO_TARGET, *sorted(makers.items())])
        products = [(row.value, counted(row)) for row in month.products]
        self._offer("product", [ALL_PRODUCTS, *products])

    def _models(self) -> list[tuple[str, str]]:
        """Return the models of the month as choices."""
        return [(row.value, counted(row, row.provider)) for row in self.seen.models]

    def _offer(self, name: str, choices: list[Any]) -> None:
        """Give a field its choices."""
        widget = self.fields[name].widget
        assert isinstance(widget, forms.Select), "a field of choices"
        widget.choices = choices

    @property
    def customers(self) -> list[tuple[str, str]]:
        """The customers of the month: what is typed, and what is shown beside it."""
        return [(row.value, counted(row)) for row in self.seen.customers]

    def clean_month(self) -> dt.date:
        """Return the first day of the month."""
        day = read_month(self.cleaned_data["month"])
        if day is None:
            raise forms.ValidationError("Choose a month that has begun, as 2026-10.")
        return day

    def clean_model(self) -> Seen | None:
        """Return what was used: a model at a provider, or at any of them."""
        text = self.cleaned_data["model"]
        if not text:
            return None
        for row in self.seen.models:
            if text == row.value:
                return row
        named = [row for row in self.seen.models if self._is_of(row.model, text)]
        if named:
            return Seen(text, text, sum(row.events for row in named), model=text)
        names = [row.model for row in self.seen.models]
        raise forms.ValidationError(
            f"No call of {text} in {self.seen.day:%B %Y}.{close_to(text, names)}"
        )

    def _is_of(self, model: str, text: str) -> bool:
        """Tell whether a used model goes by a name, its own or that of its price."""
        return text in (model, self.book.sheet(model, Situation()).name)

    def clean_target(self) -> Target | None:
        """Return the model with a price; without a provider, that of its maker."""
        text = self.cleaned_data["target"].strip()
        if not text:
            return None
        sheet = self.book.sheet(text, Situation())
        for target in self.targets:
            if text == target.value:
                return target
        for target in self.targets:
            if (target.provider, target.model) == (sheet.provider, sheet.name):
                return target
        near = close_to(text, [target.model for target in self.targets])
        raise forms.ValidationError(f"No price of {text} is known.{near}")

    def clean_customer(self) -> Any:
        """Return the customer that is meant."""
        text = self.cleaned_data["customer"].strip().replace("\0", "")
        if not text:
            return None
        found = what_if.customer_of(text)
        if not found:
            near = close_to(text, [row.label for row in self.seen.customers])
            raise forms.ValidationError(f"There is no customer {text}.{near}")
        if len(found) > 1:
            which = ", ".join(row.public_id for row in found)
            raise forms.ValidationError(f"More than one is called {text}: {which}.")
        return found[0]

    def clean_product(self) -> Seen | None:
        """Return the product that is meant."""
        text = self.cleaned_data["product"]
        if not text:
            return None
        for row in self.seen.products:
            if text == row.value:
                return row
        raise forms.ValidationError(
            f"No product {text} was used in {self.seen.day:%B %Y}."
        )

    def clean(self) -> dict[str, Any]:
        """Ask for exactly one change, of something that happened."""
        given: dict[str, Any] = super().clean() or {}
        if self.errors:
            return given
        target, change = given.get("target"), given.get("change")
        if target is None and change is None:
            self.add_error("target", "Choose a model to move to, or a change of price.")
        elif target is not None and change is not None:
            text = "Choose either a model to move to or a change of price, not both."
            self.add_error("change", text)
        elif change == 0:
            self.add_error("change", "A change of 0 % changes nothing: try -20.")
        model = given.get("model")
        if target and model and model.value == target.value:
            self.add_error("target", "That is the model that it ran on.")
        return given
