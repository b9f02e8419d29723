"""The form of a new plan: product, name, code, currency and starting template."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.text import slugify

from aforo.core.models import Tenant
from aforo.lib.money import CURRENCIES
from catalog.models import Product
from catalog.starters import starters

EMPTY = ""
COMMON = ("USD", "EUR", "GBP")


def currencies() -> list[tuple[str, str]]:
    """Return the currencies to choose from, the usual ones first."""
    rest = sorted(CURRENCIES - set(COMMON))
    return [(code, code) for code in (*COMMON, *rest)]


class StartForm(forms.Form):
    """What a new plan begins with."""

    product = forms.ModelChoiceField(Product.objects.none(), empty_label=None)
    name = forms.CharField(max_length=120)
    code = forms.CharField(
        max_length=60,
        required=False,
        help_text="It stays. Left blank, it is made of the name.",
    )
    currency = forms.ChoiceField(choices=currencies)
    template = forms.ChoiceField(
        label="Start with", widget=forms.RadioSelect, required=False
    )

    def __init__(self, tenant: Tenant, *args: Any, **kwargs: Any) -> None:
        """Offer the tenant's products and every template."""
        super().__init__(*args, **kwargs)
        products = Product.objects.filter(tenant=tenant, archived_at=None)
        self.fields["product"].queryset = products  # type: ignore[attr-defined]
        self.fields["template"].choices = [  # type: ignore[attr-defined]
            (EMPTY, "Empty"),
            *((starter.code, starter.name) for starter in starters().values()),
        ]

    def clean(self) -> dict[str, Any]:
        """Make a code of the name when none was typed."""
        found: dict[str, Any] = super().clean() or {}
        if not found.get("code") and found.get("name"):
            found["code"] = slugify(found["name"])[:60].strip("-")
            if not found["code"]:
                self.add_error("code", "Type a code: letters, digits, _ and -.")
        return found
