"""Filters that several lists have: a customer by name or id, a search box."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Model, Q, QuerySet

from aforo.lib import ids

SEARCH = {"type": "search"}


def text_box(placeholder: str) -> forms.TextInput:
    """Return a search box."""
    return forms.TextInput({**SEARCH, "placeholder": placeholder})


def of_customer(value: str) -> Q:
    """Return the condition for rows of a customer: by name, their id or ours."""
    own = ids.parse_public("cus", value)
    match = Q(customer__name__icontains=value) | Q(customer__external_id=value)
    return match | Q(customer=own) if own else match


class OfCustomers(django_filters.FilterSet):  # type: ignore[misc]
    """A list whose rows belong to customers."""

    customer = django_filters.CharFilter(
        method="filter_customer", widget=text_box("Name or id")
    )

    def filter_customer(
        self, rows: QuerySet[Any], name: str, value: str
    ) -> QuerySet[Any]:
        """Keep the rows of customers with the text in their name, or of that id."""
        return rows.filter(of_customer(value))

    @classmethod
    def get_filters(cls) -> Any:
        """Return the filters, the customer's after the list's own search box."""
        found = super().get_filters()
        found.move_to_end("customer", last=False)
        if "q" in found:
            found.move_to_end("q", last=False)
        return found

    @property
    def is_filtered(self) -> bool:
        """Whether the address names any filter."""
        return any(self.data.get(name) for name in self.filters)


def empty_model(model: type[Model]) -> Any:
    """Return the Meta of a filter set that declares all its filters itself."""
    return type("Meta", (), {"model": model, "fields": ()})
