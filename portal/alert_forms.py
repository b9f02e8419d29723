"""Forms of alert rules and webhook endpoints."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms

from aforo.core.models.happenings import Kind, Severity
from aforo.lib.money import plain
from billing.models import Customer
from guard import alert_rules, webhooks
from guard.models import AlertRule
from portal.account_forms import DECIMAL_INPUT

SNOOZES = {"1h": ("1 hour", 1), "1d": ("1 day", 24), "7d": ("7 days", 168)}
LINES_HELP = "; ".join(
    f"{Kind(kind).label.lower()}: {line.words}"
    for kind, line in alert_rules.LINES.items()
)


class RuleForm(forms.Form):
    """What alerts, and whom."""

    name = forms.CharField(max_length=120)
    kind = forms.ChoiceField(choices=Kind.choices, label="When this happens")
    threshold = forms.DecimalField(
        required=False,
        widget=DECIMAL_INPUT,
        help_text=f"Empty: each line that is told. {LINES_HELP}.",
    )
    severity = forms.ChoiceField(
        choices=Severity.choices[1:], label="From severity", initial=Severity.WARN
    )
    customer = forms.ChoiceField(required=False)
    every = forms.ChoiceField(choices=AlertRule.Every.choices, label="At most")
    emails = forms.CharField(
        required=False, label="E-mail to", help_text="Addresses, with commas."
    )
    to_owner = forms.BooleanField(
        required=False,
        label="E-mail the customer's people and its account manager",
    )
    webhook = forms.BooleanField(
        required=False, label="Send alert.fired to webhook endpoints"
    )
    enabled = forms.BooleanField(required=False, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Customer.objects.order_by("name").values_list("pk", "name")[:1_000]
        choices = [("", "Every customer"), *((str(pk), name) for pk, name in rows)]
        self.fields["customer"] = forms.ChoiceField(choices=choices, required=False)
        self.order_fields(list(RuleForm.base_fields))

    @property
    def values(self) -> dict[str, Any]:
        """What the rule takes."""
        given = dict(self.cleaned_data)
        emails = given["emails"].split(",")
        given["emails"] = [part for e in emails if (part := e.strip())]
        given["customer_id"] = given.pop("customer") or None
        return given


def shown(rule: AlertRule) -> dict[str, Any]:
    """Return a rule's values as the form shows them."""
    return {
        **{name: getattr(rule, name) for name in alert_rules.FIELDS},
        "customer": str(rule.customer_id or ""),
        "emails": ", ".join(rule.emails),
        "threshold": None if rule.threshold is None else plain(rule.threshold),
    }


class SnoozeForm(forms.Form):
    """For how long a rule keeps quiet."""

    during = forms.ChoiceField(
        label="Keep quiet for", choices=[(k, v[0]) for k, v in SNOOZES.items()]
    )

    @property
    def time(self) -> dt.timedelta:
        """How long that is."""
        return dt.timedelta(hours=SNOOZES[self.cleaned_data["during"]][1])


class EndpointForm(forms.Form):
    """An address, and what goes there."""

    url = forms.CharField(max_length=500, label="Address", help_text="https://…")
    description = forms.CharField(max_length=160, required=False)
    types = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: every type.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["types"] = forms.MultipleChoiceField(
            required=False,
            choices=[(name, name) for name in webhooks.types()],
            widget=forms.CheckboxSelectMultiple,
            help_text="None chosen: every type.",
        )
