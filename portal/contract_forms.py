"""Forms that give a customer a plan, and another one afterwards."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms

from aforo.lib import clock
from aforo.lib.errors import AforoError
from aforo.lib.models import DECIMAL_PLACES, MAX_DIGITS
from aforo.lib.money import plain
from billing import trials
from billing.models import Agent, Customer, Subscription
from catalog.models import PlanVersion, Product
from catalog.plans import PricedPlan
from catalog.pricing import committed_charges
from portal.account_forms import DECIMAL_INPUT
from portal.pages import refuse

NOW, PAST, NEXT = "now", "past", "next"
COMMITTED = ("committed_amount", "committed_price")
CALLS_MAX = 10**15
Groups = list[tuple[str, list[tuple[str, str]]]]


def live_versions() -> list[PlanVersion]:
    """Return the version that new contracts get, of every plan that is sold."""
    rows = PlanVersion.objects.filter(state=PlanVersion.State.PUBLISHED)
    rows = rows.filter(plan__archived_at__isnull=True).select_related("plan__product")
    latest = (
        rows.order_by("plan_id", "-number").distinct("plan_id").defer("body", "limits")
    )
    return sorted(
        latest, key=lambda v: (v.plan.product.name, v.plan.name, v.plan.public_id)
    )


def running(customer: Customer, product: Product) -> list[Subscription]:
    """Return the contracts for a product that have not ended."""
    rows = Subscription.objects.filter(customer=customer, product=product)
    rows = rows.exclude(state=Subscription.State.CANCELLED)
    return list(rows.select_related("agent"))


class PlanForm(forms.Form):
    """Which plan, by product."""

    plan = forms.ChoiceField(help_text="Live versions of plans, by product.")

    def __init__(self, customer: Customer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.versions = {v.plan.public_id: v for v in live_versions()}
        taken = Subscription.objects.filter(customer=customer)
        taken = taken.exclude(state=Subscription.State.CANCELLED)
        products = set(taken.values_list("product_id", flat=True))
        groups: dict[str, list[tuple[str, str]]] = {}
        for key, version in self.versions.items():
            product = version.plan.product
            name = product.name
            if product.pk in products:
                name += " (has a subscription)"
            groups.setdefault(name, []).append((key, str(version)))
        field = self.fields["plan"]
        assert isinstance(field, forms.ChoiceField)
        choices: Groups = list(groups.items())
        field.choices = [("", "Choose a plan"), *choices]


class InstantInput(forms.DateTimeInput):
    """The browser's own picker of an instant, in UTC."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__({"step": "60"}, format="%Y-%m-%dT%H:%M:%S")


class TermsForm(forms.Form):
    """From when, in which currency, and for a commitment whose part of it."""

    starts = forms.ChoiceField(
        choices=[(NOW, "Now"), (PAST, "At a moment in the past")], initial=NOW
    )
    start_at = forms.DateTimeField(
        label="Moment in the past", required=False, widget=InstantInput
    )
    currency = forms.ChoiceField()
    agent = forms.ModelChoiceField(
        Agent.objects.none(),
        required=False,
        empty_label="All agents of the customer",
        help_text="One agent's own subscription goes before the customer's.",
    )
    charge = forms.ChoiceField(label="Commitment of")
    committed_amount = forms.IntegerField(
        label="Committed calls",
        min_value=1,
        max_value=CALLS_MAX,
        required=False,
        widget=forms.TextInput({"inputmode": "numeric", "autocomplete": "off"}),
        help_text="Of a period. Empty: what the plan says.",
    )
    committed_price = forms.DecimalField(
        label="Price of the commitment",
        min_value=0,
        max_digits=MAX_DIGITS,
        decimal_places=DECIMAL_PLACES,
        required=False,
        widget=DECIMAL_INPUT,
        help_text="A period, in the currency of the contract.",
    )

    def __init__(
        self, customer: Customer, priced: PricedPlan, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.earliest = trials.earliest_start(customer)
        self.committed = committed_charges(priced.plan)
        self.fields["start_at"].help_text = (
            f"In UTC, not before {self.earliest:%-d %b %Y %H:%M}: at most two years"
            " back, and what is invoiced stays as it is."
        )
        offered = priced.plan.currencies
        self._choices("currency", [(code, code) for code in offered])
        own = customer.currency
        self.fields["currency"].initial = own if own in offered else priced.currency
        agents = self.fields["agent"]
        assert isinstance(agents, forms.ModelChoiceField)
        agents.queryset = Agent.objects.filter(customer=customer).order_by("name")
        if not self.committed:
            for name in ("agent", "charge", *COMMITTED):
                del self.fields[name]
        elif len(self.committed) == 1:
            del self.fields["charge"]
        else:
            self._choices("charge", [(c.key, c.name) for c in self.committed])

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        """Refuse a start to come, one too far back, and half an allocation."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        at: dt.datetime | None = given.get("start_at")
        if given.get("starts") == PAST and "start_at" in given:
            if at is None:
                self.add_error("start_at", "Type when it began, or choose Now.")
            elif at > clock.now():
                self.add_error("start_at", "That is still to come.")
            elif at < self.earliest:
                self.add_error(
                    "start_at",
                    f"Not before {self.earliest:%-d %b %Y %H:%M} UTC, please.",
                )
        amount, price = (given.get(name) for name in COMMITTED)
        if (amount is None) != (price is None) and not self.errors:
            missing = COMMITTED[0] if amount is None else COMMITTED[1]
            self.add_error(missing, "Type both: how many calls, and what they cost.")
        return given

    def start(self) -> dt.datetime:
        """Return from when the contract holds."""
        at: dt.datetime | None = self.cleaned_data["start_at"]
        return at if at and self.cleaned_data["starts"] == PAST else clock.now()

    def terms(self) -> dict[str, Any]:
        """Return what `subscriptions.subscribe` takes beside plan and start."""
        given = self.cleaned_data
        amount, price = (given.get(name) for name in COMMITTED)
        own: dict[str, Any] = {}
        if amount is not None and price is not None:
            own = {"amount": amount, "price": plain(price)}
            if given.get("charge"):
                own["charge"] = given["charge"]
        return {
            "agent": given.get("agent"),
            "currency": given["currency"],
            "commitment": own,
        }

    def refuse(self, error: AforoError) -> None:
        """Put a refusal next to the box at fault."""
        field = error.field or ""
        if field.startswith("commitment"):
            field = COMMITTED["price" in field]
        by_code = {"period_finalised": "start_at", "already_subscribed": "agent"}
        field = by_code.get(error.code, field)
        refuse(self, AforoError(error.code, error.status, error.detail, field=field))


class NextPlanForm(forms.Form):
    """Which plan version takes over, and when."""

    version = forms.ChoiceField(
        label="Plan", help_text="Published versions of the same product."
    )
    when = forms.ChoiceField(choices=[(NEXT, "next"), (NOW, "now")], initial=NEXT)

    def __init__(
        self, subscription: Subscription, now: PlanVersion, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        rows = PlanVersion.objects.filter(
            state=PlanVersion.State.PUBLISHED,
            plan__product=subscription.product_id,
            plan__archived_at__isnull=True,
        )
        rows = rows.exclude(pk=now.pk).select_related("plan")
        ordered = rows.order_by("plan__name", "plan_id", "-number").defer(
            "body", "limits"
        )
        self.versions = {v.public_id: v for v in ordered}
        field = self.fields["version"]
        assert isinstance(field, forms.ChoiceField)
        choices = [(key, str(v)) for key, v in self.versions.items()]
        field.choices = [("", "Choose a plan"), *choices]

    @property
    def chosen(self) -> PlanVersion:
        """The plan version that was chosen."""
        return self.versions[self.cleaned_data["version"]]
