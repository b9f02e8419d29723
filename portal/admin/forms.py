"""Forms of the back office that ask for other things than the row has."""

from __future__ import annotations

from typing import Any

from django import forms

from billing.models import Credential, Subscription
from catalog.models import PlanVersion, Product
from portal.admin.base import Instant, Refusable


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

    class Meta:
        model = Subscription
        fields = ("customer", "agent", "started_at")

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
            field.help_text = "Empty: nothing changes."
        field.queryset = rows
