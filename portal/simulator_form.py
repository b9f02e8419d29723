"""The form of the simulator: which plans, whose month."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django import forms

from aforo.core.models import Tenant
from aforo.lib import clock, ids
from aforo.lib.errors import AforoError
from catalog.models import PlanVersion, Product
from metering import backtest_plans
from metering.backtest_plans import PLANS_MAX

MONTHS = 12
LETTERS = "ABCD"


def months() -> list[tuple[str, str]]:
    """Return the last months that are over, the newest first."""
    day = clock.now().date().replace(day=1)
    found = []
    for _ in range(MONTHS):
        day = (day - dt.timedelta(days=1)).replace(day=1)
        found.append((f"{day:%Y-%m}", f"{day:%B %Y}"))
    return found


def version_choices(tenant: Tenant) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the tenant's versions by product, the newest of each plan first."""
    rows = PlanVersion.objects.filter(tenant=tenant).select_related("plan__product")
    groups: dict[str, list[tuple[str, str]]] = {}
    for row in rows.order_by("plan__product__name", "plan__name", "-number"):
        label = f"{row} ({row.get_state_display().lower()})"
        groups.setdefault(row.plan.product.name, []).append((row.public_id, label))
    return list(groups.items())


class SimulatorForm(forms.Form):
    """One to four plans, a month, and whose usage of it."""

    plan_a = forms.ChoiceField(label="Plan A")
    plan_b = forms.ChoiceField(label="Plan B", required=False)
    plan_c = forms.ChoiceField(label="Plan C", required=False)
    plan_d = forms.ChoiceField(label="Plan D", required=False)
    month = forms.ChoiceField(
        choices=months, help_text="One that is over, in each customer's time zone."
    )
    product = forms.ChoiceField(
        label="Usage of",
        required=False,
        help_text="Needed when the plans are of several products.",
    )
    customers = forms.CharField(
        required=False,
        max_length=400_000,
        widget=forms.Textarea({"rows": 2, "spellcheck": "false"}),
        help_text="One id a line, ours (cus_…) or yours. Empty: all subscribers.",
    )

    def __init__(self, tenant: Tenant, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tenant = tenant
        versions = version_choices(tenant)
        for index, bound in enumerate(self.plan_fields()):
            none = [("", "Choose a version" if index == 0 else "None")]
            self.fields[bound].choices = [*none, *versions]  # type: ignore[attr-defined]
        products = Product.objects.filter(tenant=tenant).order_by("name")
        self.fields["product"].choices = [  # type: ignore[attr-defined]
            ("", "The plans' product"),
            *((row.public_id, row.name) for row in products),
        ]

    @staticmethod
    def plan_fields() -> list[str]:
        """Return the names of the fields that hold plans."""
        return [f"plan_{letter.lower()}" for letter in LETTERS[:PLANS_MAX]]

    def plan_bounds(self) -> Iterator[forms.BoundField]:
        """Yield the fields that hold plans, for the page."""
        for name in self.plan_fields():
            yield self[name]

    def clean(self) -> dict[str, Any]:
        """Refuse a version that is chosen twice."""
        given: dict[str, Any] = super().clean() or {}
        seen: dict[str, str] = {}
        for name in self.plan_fields():
            chosen = given.get(name)
            if chosen and chosen in seen:
                label = self.fields[seen[chosen]].label
                self.add_error(
                    name, f"{label} has this version already; choose another one."
                )
            elif chosen:
                seen[chosen] = name
        return given

    def values(self) -> dict[str, Any]:
        """Return what the checked form asks for, as backtest_jobs.request takes it.

        Raises AforoError 422 naming the form's field.
        """
        given = self.cleaned_data
        plans = []
        for name in self.plan_fields():
            if given[name]:
                plans.append(self._frozen(name, given[name]))
        product = None
        if given["product"]:
            keys = [ids.parse_public("prd", given["product"])]
            product = Product.objects.get(tenant=self.tenant, pk__in=keys)
        names = given["customers"].replace(",", "\n").splitlines()
        chosen = [name.strip() for name in names if name.strip()]
        return {
            "month": backtest_plans.parse_month(given["month"]),
            "plans": plans,
            "customers": chosen or None,
            "product": product,
        }

    def _frozen(self, name: str, public_id: str) -> dict[str, Any]:
        """Return a chosen version as backtests keep it."""
        rows = PlanVersion.objects.select_related("plan").filter(tenant=self.tenant)
        version = rows.get(pk__in=[ids.parse_public("plv", public_id)])
        try:
            return backtest_plans.frozen_version(version)
        except AforoError as error:
            detail = f"{error.detail}. Complete the draft, or choose another version."
            raise AforoError(error.code, 422, detail, field=name) from error
