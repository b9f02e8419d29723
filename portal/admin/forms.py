"""Forms of the back office that ask for other things than the row has."""

from __future__ import annotations

from typing import Any

from django import forms

from aforo.lib import clock
from aforo.lib.models import DECIMAL_PLACES, MAX_DIGITS
from aforo.lib.money import plain
from billing.models import Credential, Subscription
from catalog.models import PlanVersion, Product
from portal.admin.base import Instant, Refusable
from portal.composer.starting import currencies

COMMITTED = ("committed_amount", "committed_price")


class CredentialForm(Refusable):
    """Whose credential, for which products, and until when."""

    products = forms.ModelMultipleChoiceField(
        Product.objects.none(),
        required=False,
        help_text="None: every product that the customer subscribes to.",
    )

    class Meta:
        model = Credential
        fields = ("agent", "name", "expires_at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "products" in self.fields:
            field: Any = self.fields["products"]
            field.queryset = Product.objects.order_by("name")


class SubscriptionForm(Refusable):
    """Who subscribes to which plan version, or which one comes next."""

    plan_version = forms.ModelChoiceField(
        PlanVersion.objects.none(),
        label="Plan version",
        help_text="Published versions only; the product is the plan's.",
    )
    effective_at = forms.DateTimeField(
        required=False,
        widget=Instant,
        help_text="When the next plan version takes over, in UTC; empty: now.",
    )

    currency = forms.ChoiceField(
        choices=[("", "The customer's, where the plan is sold in it"), *currencies()],
        required=False,
        help_text="One that the plan is sold in.",
    )
    committed_amount = forms.IntegerField(
        label="Committed calls",
        min_value=1,
        required=False,
        help_text="Of a committed plan: this contract's own allocation, such as one"
        " agent's. Empty: the plan's.",
    )
    committed_price = forms.DecimalField(
        label="Price of the commitment",
        min_value=0,
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        required=False,
        help_text="A period, in the currency of the contract.",
    )

    class Meta:
        model = Subscription
        fields = ("customer", "agent", "started_at")

    def clean(self) -> dict[str, Any]:
        """Refuse an allocation of which only one figure is typed."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        amount, price = (given.get(name) for name in COMMITTED)
        if (amount is None) != (price is None):
            missing = COMMITTED[0] if amount is None else COMMITTED[1]
            self.add_error(missing, "Type both: how many calls, and what they cost.")
        return given

    def commitment(self) -> dict[str, Any]:
        """Return the contract's own commitment; empty: the plan's."""
        amount, price = (self.cleaned_data.get(name) for name in COMMITTED)
        if amount is None or price is None:
            return {}
        return {"amount": amount, "price": plain(price)}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "plan_version" not in self.fields:
            return
        field: Any = self.fields["plan_version"]
        rows = PlanVersion.objects.filter(state=PlanVersion.State.PUBLISHED)
        rows = rows.select_related("plan").order_by("plan__name", "-number")
        if not self.instance._state.adding:
            rows = rows.filter(plan__product=self.instance.product_id)
            field.required = False
            field.label = "Next plan version"
            field.help_text = "Empty: nothing changes. Own prices, currency and"
            field.help_text += " commitment go on."
        field.queryset = rows
        if "started_at" in self.fields:
            self.fields["started_at"].initial = clock.now
