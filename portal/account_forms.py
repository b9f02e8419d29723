"""Forms of deeds on customers, agents, credentials and wallets."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from django import forms

from aforo.lib import clock
from aforo.lib.models import DECIMAL_PLACES, MAX_DIGITS
from billing.models import Agent, Customer, Subscription
from catalog.models import Product

DECIMAL_INPUT = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})
REASON_HELP = "Kept in the audit."


class ReasonForm(forms.Form):
    """Why somebody does it."""

    reason = forms.CharField(max_length=300, required=False, help_text=REASON_HELP)


class TopUpForm(forms.Form):
    """Credit that a customer paid for."""

    amount = forms.DecimalField(
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        min_value=Decimal(0),
        widget=DECIMAL_INPUT,
    )
    title = forms.CharField(
        max_length=120, initial="Top-up", help_text="The customer sees it."
    )
    expires_on = forms.DateField(
        label="Expires on",
        required=False,
        widget=forms.DateInput({"type": "date"}),
        help_text="The credit lasts to the end of that day in UTC.",
    )
    reason = forms.CharField(max_length=300, required=False, help_text=REASON_HELP)

    def clean_expires_on(self) -> dt.datetime | None:
        """Return the instant at which the day ends; a past day is refused."""
        day: dt.date | None = self.cleaned_data["expires_on"]
        if day is None:
            return None
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
        if end <= clock.now():
            raise forms.ValidationError(f"{day:%-d %b %Y} is over; choose a later day.")
        return end


class SpendCapForm(forms.Form):
    """The most that may be rated for a customer in a period."""

    amount = forms.DecimalField(
        label="Spend cap a period",
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        min_value=Decimal(0),
        required=False,
        widget=DECIMAL_INPUT,
        help_text="Empty: no cap.",
    )
    reason = forms.CharField(max_length=300, required=False, help_text=REASON_HELP)


EXTERNAL_ID_HELP = "Your own id; events and checks may name it instead of ours."


class TeamForm(forms.Form):
    """A new team of a customer."""

    name = forms.CharField(max_length=120)
    external_id = forms.CharField(
        label="External id", max_length=120, required=False, help_text=EXTERNAL_ID_HELP
    )
    tier = forms.CharField(
        max_length=40, required=False, help_text="A mark of your own, such as gold."
    )


class AgentForm(TeamForm):
    """A new app or agent of a team."""

    kind = forms.ChoiceField(
        choices=Agent.Kind.choices,
        initial=Agent.Kind.AGENT,
        help_text="Apps hold bearer tokens, agents a client id and secret.",
    )
    agent_type = forms.ChoiceField(
        label="Built with",
        choices=Agent.AgentType.choices,
        initial=Agent.AgentType.CUSTOM,
    )
    purpose = forms.CharField(
        max_length=300, required=False, help_text="What it does, in a few words."
    )
    field_order = ("name", "kind", "agent_type", "purpose", "external_id", "tier")


class RotateForm(forms.Form):
    """How long the old secret goes on working."""

    overlap = forms.ChoiceField(
        label="The old secret works for",
        choices=[
            ("24h", "24 more hours"),
            ("1h", "1 more hour"),
            ("7d", "7 more days"),
            ("now", "no longer: revoke it now"),
        ],
    )


class IssueForm(forms.Form):
    """A new credential of an app or agent."""

    name = forms.CharField(
        max_length=120, required=False, help_text="What it is for, such as production."
    )
    products = forms.ModelMultipleChoiceField(
        Product.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: every product that the customer subscribes to.",
    )

    def __init__(self, customer: Customer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        live = Subscription.objects.filter(customer=customer).exclude(
            state=Subscription.State.CANCELLED
        )
        field = self.fields["products"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        field.queryset = Product.objects.filter(pk__in=live.values("product"))
